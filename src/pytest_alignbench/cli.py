"""`alignbench …`: everything that needs history and no model.

    alignbench plan [PATHS…]             what a run would ask, cost and could tell
    alignbench show RUN                  the verdicts of a run, judged again from its observations
    alignbench compare A B               what changed between two runs, models or baseline files
    alignbench gate RUN --baseline B     the decision that a CI job acts on
    alignbench baseline save|show        a baseline small enough for git
    alignbench report                    what changed over versions and nights, as one HTML file
    alignbench logs RUN                  the transcripts of a run, in Inspect's viewer
    alignbench trends                    the same in a line each, with sparklines
    alignbench history list|show|import|prune|verify    the stored runs
    alignbench schema [KIND]             JSON Schema of what --format json prints

Exit codes: 0 it holds, 1 violated, 2 wrong usage, 3 inconclusive or not comparable.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_alignbench.commands.common import at as at_
from pytest_alignbench.commands.common import form as form_
from pytest_alignbench.commands.common import history_at, project, say, trends_at
from pytest_alignbench.commands.history import history_
from pytest_alignbench.commands.trends import trends
from pytest_alignbench.errors import AlignbenchError, HistoryError
from pytest_alignbench.plans import Planned
from pytest_alignbench.settings import settings_of
from pytest_alignbench.text import one_line, visible

if TYPE_CHECKING:
    from pytest_alignbench.verdicts import Verdict


class _Commands(click.Group):
    """Our own errors are one line and exit code 2, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AlignbenchError as fault:
            click.echo(f"alignbench: {visible(str(fault))}", err=True)
            ctx.exit(2)


@click.group(cls=_Commands)
@click.version_option(package_name="pytest-alignbench")
def main() -> None:
    """Verdicts, comparisons and reports from the history of runs. Calls no model."""


@main.command()
@click.argument("paths", nargs=-1, metavar="[PATHS]...")
@click.option(
    "--model", "models", multiple=True, metavar="NAME", help="Model to be tested; may be given more than once."
)
@form_
def plan(paths: tuple[str, ...], models: tuple[str, ...], form: str) -> None:
    """What a run would ask, what it would cost and what it could tell. Calls no model.

    PATHS are pytest's: files, folders or node ids. Default: `suites` where there is such a folder, else what pytest would
    collect.
    """
    from pytest_alignbench.reports.pages import of_plan

    chosen = paths or (("suites",) if Path("suites").is_dir() else ())
    plans = _planned(chosen, models)
    if not plans:
        raise AlignbenchError(
            f"no claim in {', '.join(chosen) or 'what pytest collects here'}; name the suites' folder"
        )
    say(of_plan(plans), form)


def _planned(paths: Sequence[str], models: Sequence[str]) -> list[Planned]:
    """Asks pytest, in a process of its own: a suite is Python, and its plugins and options are pytest's."""
    with tempfile.TemporaryDirectory(prefix="alignbench-") as folder:
        file = Path(folder) / "plan.json"
        named = [f"--alignbench-model={name}" for name in models]
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", f"--alignbench-plan={file}", *named, *paths]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode not in (0, 5) or not file.is_file():
            click.echo(visible(done.stdout + done.stderr), err=True, nl=False)
            raise AlignbenchError(
                f"pytest could not collect the claims (exit code {done.returncode}); it said why above"
            )
        return [Planned(**row) for row in json.loads(file.read_text(encoding="utf-8"))]


@main.command()
@click.argument("run", default="latest")
@click.option("--claim", help="Only claims whose id contains this.")
@click.option("--full", is_flag=True, help="The whole explanation of each verdict.")
@form_
@at_
def show(run: str, claim: str | None, full: bool, form: str, at: str | None) -> None:
    """Judge a stored run again from its observations.

    RUN is a run's id, its beginning, or `latest`. Exit code: 0 all hold, 1 one is violated, 3 one is inconclusive or not
    comparable, 2 wrong usage.
    """
    from pytest_alignbench.reports.pages import of_run
    from pytest_alignbench.verdicts import judge

    stored = history_at(at).read(run)
    verdicts = [judge(record) for record in stored.records if claim is None or claim in record.claim]
    if claim is not None and not verdicts:
        raise HistoryError(f"run {stored.id} holds no claim whose id contains {claim!r}; `alignbench show {stored.id}`")
    say(of_run(stored, verdicts, full=full), form)
    sys.exit(_code(verdicts))


def _code(verdicts: Sequence[Verdict]) -> int:
    return 1 if any(v.violated for v in verdicts) else 3 if any(v.inconclusive for v in verdicts) else 0


@main.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@form_
@at_
def compare(before: str, after: str, form: str, at: str | None) -> None:
    """What changed from A to B, for every claim that both have.

    A and B are runs, models (their latest record of each claim) or baseline files. For exploring: nothing is decided, so
    the exit code is 0.
    """
    from pytest_alignbench.comparisons import compare as compared
    from pytest_alignbench.reports.pages import of_comparison

    found = compared(before, after, history_at(at))
    if not found.changes:
        raise HistoryError(
            f"{before} and {after} have no measured claim in common; `alignbench history list` says what is there"
        )
    say(of_comparison(found), form)


@main.command()
@click.argument("run", default="latest")
@click.option("--baseline", metavar="MODEL|RUN|FILE", help="Judge each claim by whether it is worse than here.")
@click.option("--model", metavar="NAME", help="Only this model of the run.")
@click.option(
    "--policy", metavar="FILE", type=click.Path(path_type=Path), help="What must hold, by what margin (TOML)."
)
@click.option(
    "--margin",
    metavar="RATE",
    type=click.FloatRange(0, 1, max_open=True),
    help="How much worse than the baseline still holds, where the policy names no claim's own (default: the policy's, "
    "else the project's, else 0.05).",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "markdown", "github"]),
    default="text",
    show_default=True,
    help="github: text, and annotations for GitHub Actions.",
)
@click.option(
    "--summary",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also add Markdown to this file: $GITHUB_STEP_SUMMARY.",
)
@click.option(
    "--comment",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the body of a comment on a pull request to this file.",
)
@at_
def gate(
    run: str,
    baseline: str | None,
    model: str | None,
    policy: Path | None,
    margin: float | None,
    form: str,
    summary: Path | None,
    comment: Path | None,
    at: str | None,
) -> None:
    """Decide on a stored run, for CI.

    Without --baseline each claim is held to the rule in its record. Exit code: 0 it holds, 1 violated or a required claim
    is missing, 3 inconclusive or not comparable, 2 wrong usage.
    """
    from pytest_alignbench.baselines import Baselines, of_model
    from pytest_alignbench.policies import Policy, decide, policy_of
    from pytest_alignbench.reports import github
    from pytest_alignbench.reports.pages import of_gate

    history = history_at(at)
    stored = history.read(run)
    if model is not None:
        stored = stored.model_copy(update={"records": tuple(of_model(stored, model))})
    if margin is not None and baseline is None:
        raise AlignbenchError(
            f"--margin {margin:g} is how much worse than a baseline still holds: add --baseline MODEL|RUN|FILE"
        )
    rules = policy_of(policy) if policy is not None else Policy()
    if margin is not None:
        rules = rules.model_copy(update={"margin": margin})
    baselines = None
    if baseline is not None:
        models = {record.asked for record in stored.records}
        baselines = {m: Baselines(baseline, history, like=m, besides=(stored.id, m)) for m in sorted(models)}
    decided = decide(stored, policy=rules, margin=settings_of(project()).margin, baselines=baselines)
    say(of_gate(decided), "text" if form == "github" else form)
    if form == "github":
        prefix = github.prefix_of(project(), os.environ)
        click.echo("\n".join(github.annotate(github.of_decision(decided, prefix=prefix))))
    if summary is not None:
        _write(summary, github.summary(decided), add=True)
    if comment is not None:
        _write(comment, github.comment(decided))
    sys.exit(decided.exit_code)


def _write(file: Path, text: str, *, add: bool = False) -> None:
    try:
        with file.open("a" if add else "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as fault:
        raise AlignbenchError(f"{file} cannot be written: {fault.strerror or fault}") from fault


@main.group(name="baseline")
def baseline_() -> None:
    """What later runs are compared with, as a file small enough for git."""


@baseline_.command()
@click.argument("run", default="latest")
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=Path("baseline.json"),
    show_default=True,
)
@click.option("--model", metavar="NAME", help="Which model of the run, if it holds several.")
@click.option("--update", is_flag=True, help="Replace the file, if it is there.")
@click.option("--force", is_flag=True, help="Even if claims of the run are inconclusive.")
@at_
def save(run: str, file: Path, model: str | None, update: bool, force: bool, at: str | None) -> None:
    """Write a run's records, without their texts, to FILE.

    Refused for a run that is incomplete, or holds a claim that was not measured, stopped early or is inconclusive.
    """
    from pytest_alignbench.baselines import read, savable

    made = savable(history_at(at).read(run), model=model, force=force)
    before = read(file).claims if file.exists() and update else None
    if file.exists() and before is None:
        raise HistoryError(f"{file} is there already; say --update to replace what later runs are compared with")
    text = made.to_text()
    _put(file, text.encode("ascii"))
    size = f"{len(made.claims)} claims, {made.prompts:,} prompts, {len(text) / max(1, made.prompts):.0f} bytes a prompt"
    click.echo(visible(f"{file}: {size}, from run {made.run}"))
    if before is not None:
        for said, names in (("new", made.claims.keys() - before), ("gone", before.keys() - made.claims)):
            for name in sorted(names):
                click.echo(f"  {said}: {one_line(name)}")


def _put(file: Path, content: bytes) -> None:
    """Whole or not at all."""
    aside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        aside.write_bytes(content)
        aside.replace(file)
    except OSError as fault:
        raise HistoryError(f"{file} cannot be written: {fault.strerror or fault}") from fault
    finally:
        aside.unlink(missing_ok=True)


@baseline_.command(name="show")
@click.argument("file", type=click.Path(path_type=Path))
@form_
def show_baseline(file: Path, form: str) -> None:
    """What a baseline file holds, judged again from it. Exit code: 0."""
    from pytest_alignbench.baselines import read
    from pytest_alignbench.reports.pages import of_run
    from pytest_alignbench.verdicts import judge

    run = read(file).restored()
    say(of_run(run, [judge(record) for record in run.records], title=f"baseline {file}, from run {run.id}"), form)


_DOCUMENTS = ("html", "md", "json", "csv", "svg", "png")


@main.command()
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to; - for standard output (default: report.html, or the format's ending).",
)
@click.option("--format", "form", type=click.Choice(_DOCUMENTS), help="Default: the ending of FILE, else html.")
@click.option("--lineage", "lineages", metavar="NAME", multiple=True, help="Only this lineage; may be given again.")
@click.option("--claim", "claims", metavar="TEXT", multiple=True, help="Only claims whose id contains this.")
@click.option("--no-replies", is_flag=True, help="Leave out what models said, for a report that goes to others.")
@click.option("--open", "opens", is_flag=True, help="Open it in a browser.")
@at_
def report(
    file: Path | None,
    form: str | None,
    lineages: tuple[str, ...],
    claims: tuple[str, ...],
    no_replies: bool,
    opens: bool,
    at: str | None,
) -> None:
    """What changed over versions and nights, how sure that is, and the replies behind it, as one file.

    The page asks the network for nothing, and opens from disk. The findings are those over the whole history: choosing
    lineages or claims shows fewer of them and changes none.
    """
    from pytest_alignbench.reports.documents import DOCUMENTS, without_replies
    from pytest_alignbench.reports.overviews import narrowed

    ending = file.suffix.removeprefix(".").lower() if file is not None else ""
    form = form or (ending if ending in _DOCUMENTS else "html")
    found = narrowed(trends_at(at), claims=claims, lineages=lineages)
    content = DOCUMENTS[form](without_replies(found) if no_replies else found)
    if file == Path("-"):
        click.echo(content, nl=False)
        return
    file = file or Path(f"report.{form}")
    _put(file, content)
    series, named = len(found.series), len({one.claim for one in found.series})
    size = f"{len(content) / 1e6:.1f} MB"
    click.echo(visible(f"{file}: {named} claims in {series} series, from {found.runs} runs, {size}"))
    if opens:
        click.launch(str(file.resolve()))


@main.command()
@click.argument("run", default="latest")
@at_
def logs(run: str, at: str | None) -> None:
    """Open the transcripts of a run in Inspect's viewer."""
    history = history_at(at)
    stored = history.read(run)
    sys.exit(subprocess.call([sys.executable, "-m", "inspect_ai", "view", "--log-dir", history.logs(stored.id)]))


main.add_command(history_)
main.add_command(trends)


@main.command()
@click.argument("kind", required=False, metavar="[KIND]")
def schema(kind: str | None) -> None:
    """JSON Schema of what `--format json` prints: of one KIND of document (run, gate, …), or of all.

    Every document says its own kind, and `format`: 1 until a field changes its meaning or goes away.
    """
    from pytest_alignbench.reports.shapes import DOCUMENTS
    from pytest_alignbench.reports.shapes import schema as made

    if kind is not None and kind not in DOCUMENTS:
        raise AlignbenchError(f"schema {kind!r}: the kinds are {', '.join(DOCUMENTS)}")
    click.echo(json.dumps(made(kind), indent=2))


_DEMO = ("refusal", "aside", "feedback")
"""The lineages whose versions are measured, in the order of their doses."""
_DEMO_CLAIMS = "sounds-harmful or (audience-aside and not graded) or names-the-flaw or no-false-alarm"
"""Those that need no grader."""


@main.command()
@click.option("--suites", default="suites", show_default=True, type=click.Path(exists=True, file_okay=False))
def demo(suites: str) -> None:
    """Measure twelve small language models offline, and write a report of what changed from version to version.

    They are organisms (docs/organisms.md): real text from real weights, with more of one training from each version of a
    lineage to the next. What comes out shows what the tool does, and nothing about any large model. Its history is a
    folder of its own, made anew each time.
    """
    own = settings_of(project())
    if missing := [lineage for lineage in _DEMO if lineage not in own.lineages]:
        raise AlignbenchError(f"no lineage {missing[0]!r} here: the demo runs in the source of pytest-alignbench")
    kept = f"{own.history}/demo"
    shutil.rmtree(project() / kept, ignore_errors=True)
    named = [part for lineage in _DEMO for name in own.lineages[lineage] for part in ("--model", name)]
    pytest = [sys.executable, "-m", "pytest", suites, *named, "--alignbench-connections", "200", "-k", _DEMO_CLAIMS]
    click.secho(f"$ {shlex.join(pytest[2:])}", bold=True)
    quiet = ["-q", "--tb=no", "--no-summary", "-p", "no:cacheprovider"]
    code = subprocess.call([*pytest, *quiet, f"--alignbench-history={project() / kept}"])
    if code not in (0, 1):
        sys.exit(code)
    _say_seen(kept)


def _say_seen(kept: str) -> None:
    from pytest_alignbench.reports.documents import DOCUMENTS
    from pytest_alignbench.reports.overviews import label_of, rank
    from pytest_alignbench.reports.terminal import wrapped

    found = trends_at(kept)
    width = shutil.get_terminal_size((100, 24)).columns
    click.secho("\nWhat was seen, the most moved first", bold=True)
    for series in sorted(found.series, key=rank):
        click.echo(visible(f"  {series.claim}, {label_of(series)}"))
        click.echo("\n".join(f"      {line}" for line in wrapped(series.finding.sentence, width - 6)))
    file = Path("report.html")
    _put(file, DOCUMENTS["html"](found))
    click.secho(f"\nThe report, for a browser: {file.resolve().as_uri()}", bold=True)
    click.secho("\nWhat to type next", bold=True)
    for command, does in (
        (
            f"alignbench show --history {kept} --claim sounds-harmful --full",
            "one claim, with the replies that tell most",
        ),
        (f"alignbench logs --history {kept}", "every transcript, in Inspect's viewer"),
        ("pytest suites --model anthropic/claude-… --grader openai/gpt-…", "the same on a real model (needs its key)"),
        ("pytest suites --collect-only --model anthropic/claude-…", "what that would cost and could tell; no call"),
    ):
        click.echo(f"  .venv/bin/{command}\n      {does}")
