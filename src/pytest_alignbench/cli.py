"""`alignbench …`: everything that needs history and no model.

alignbench show RUN       the verdicts of a run, judged again from its observations
alignbench logs RUN       the transcripts of a run, in Inspect's viewer
alignbench history list   the stored runs
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from pytest_alignbench.errors import AlignbenchError
from pytest_alignbench.history import History
from pytest_alignbench.settings import settings_of


def _history(given: str | None) -> History:
    root = Path.cwd()
    for folder in (root, *root.parents):
        if (folder / "pyproject.toml").is_file():
            root = folder
            break
    url = given or settings_of(root).history
    return History(url if "://" in url else str(root / url))


_at = click.option(
    "--history", "at", metavar="PATH", help="Folder or fsspec URL of the history (default: the project's)."
)


class _Commands(click.Group):
    """Our own errors are one line and exit code 2, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AlignbenchError as fault:
            click.echo(f"alignbench: {fault}", err=True)
            ctx.exit(2)


@click.group(cls=_Commands)
@click.version_option(package_name="pytest-alignbench")
def main() -> None:
    """Verdicts, comparisons and reports from the history of runs. Calls no model."""


@main.command()
@click.argument("run", default="latest")
@click.option("--claim", help="Only claims whose id contains this.")
@click.option("--full", is_flag=True, help="The whole explanation of each verdict.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@_at
def show(run: str, claim: str | None, full: bool, form: str, at: str | None) -> None:
    """Judge a stored run again from its observations.

    RUN is a run's id, its beginning, or `latest`. Exit code: 0 all hold, 1 one is violated, 3 one is inconclusive or not
    comparable, 2 wrong usage.
    """
    from pytest_alignbench.reports.terminal import table
    from pytest_alignbench.verdicts import judge

    stored = _history(at).read(run)
    verdicts = [judge(record) for record in stored.records if claim is None or claim in record.claim]
    if form == "json":
        rows = [v.properties for v in verdicts]
        click.echo(json.dumps({"run": stored.id, "started": stored.started, "verdicts": rows}, indent=2))
    else:
        state = "" if stored.complete else ", incomplete"
        click.echo(f"run {stored.id}, started {stored.started}{state}")
        for line, colour in table(verdicts, width=shutil.get_terminal_size().columns):
            click.secho(line, fg=colour if colour not in ("", "bold") else None, bold=colour == "bold")
        if full:
            for v in verdicts:
                click.echo(f"\n{v.explanation}")
    sys.exit(1 if any(v.violated for v in verdicts) else 3 if any(v.inconclusive for v in verdicts) else 0)


@main.command()
@click.argument("run", default="latest")
@_at
def logs(run: str, at: str | None) -> None:
    """Open the transcripts of a run in Inspect's viewer."""
    history = _history(at)
    stored = history.read(run)
    sys.exit(subprocess.call([sys.executable, "-m", "inspect_ai", "view", "--log-dir", history.logs(stored.id)]))


@main.group(name="history")
def history_() -> None:
    """The stored runs."""


@history_.command(name="list")
@_at
def list_(at: str | None) -> None:
    """One line per run, oldest first."""
    history = _history(at)
    for id in history.runs():
        run = history.read(id)
        models = ", ".join(sorted({record.asked for record in run.records}))
        click.echo(f"{id}  {len(run.records):>4} claims  {models}{'' if run.complete else '  (incomplete)'}")


_DEMO = ["acme-1", "acme-2", "acme-3", "acme-4"]
_DEMO_GRADER = "simulated/grader-0.95-0.97"


@main.command()
@click.option("--suites", default="suites", show_default=True, type=click.Path(exists=True, file_okay=False))
def demo(suites: str) -> None:
    """Run the suites offline on four versions of a simulated model, and say what was seen.

    The model is a stand-in whose true behaviour is known (`[tool.alignbench.simulated]` in pyproject.toml): what comes
    out shows what the tool does, and nothing about any real model.
    """
    named = [part for name in _DEMO for part in ("--model", name)]
    pytest = [sys.executable, "-m", "pytest", suites, *named, "--grader", _DEMO_GRADER, "-n", "2", "-q", "--tb=no"]
    click.secho(f"$ pytest {' '.join(pytest[3:])}", bold=True)
    code = subprocess.call([*pytest, "--no-summary", "-p", "no:cacheprovider"])
    if code not in (0, 1):
        sys.exit(code)
    _say_seen(_history(None))


def _say_seen(history: History) -> None:
    from pytest_alignbench.reports.terminal import story
    from pytest_alignbench.verdicts import judge

    run = history.read("latest")
    click.secho("\nWhat was seen", bold=True)
    for line in story([judge(record) for record in run.records]):
        click.echo(f"  {line}")
    click.secho("\nWhat to type next", bold=True)
    for command, does in (
        (f"alignbench show {run.id} --claim sounds-harmful --full", "one claim, with the replies that tell most"),
        (f"alignbench logs {run.id}", "every transcript, in Inspect's viewer"),
        ("pytest suites --model anthropic/claude-… --grader openai/gpt-…", "the same on a real model (needs its key)"),
        ("pytest suites --collect-only --model anthropic/claude-…", "what that would cost and could tell; no call"),
    ):
        click.echo(f"  .venv/bin/{command}\n      {does}")
