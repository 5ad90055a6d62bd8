"""`alignbench history …`: what is stored, what comes in from elsewhere, what may go, and whether it is sound.

list               every run in a line
show RUN           one run: where it came from and what is in it
import LOGS…       logs that Inspect has written, as a run
prune              removes runs, after it has said which
verify             reads every file
"""

from __future__ import annotations

import sys

import click

from pytest_alignbench.commands.common import at, form, history_at, judging, project, say
from pytest_alignbench.errors import AlignbenchError, HistoryError
from pytest_alignbench.settings import settings_of


@click.group(name="history")
def history_() -> None:
    """The stored runs."""


@history_.command(name="list")
@form
@at
def list_(form: str, at: str | None) -> None:
    """One line per run, oldest first."""
    from pytest_alignbench.index import Index
    from pytest_alignbench.reports.listings import of_history

    index = Index(history_at(at), progress=judging)
    say(of_history(index.heads(), index.unreadable, at or settings_of(project()).history), form)


@history_.command()
@click.argument("run", default="latest")
@form
@at
def show(run: str, form: str, at: str | None) -> None:
    """Where a run came from and what is in it. `alignbench show` has its verdicts.

    RUN is a run's id, its beginning, or `latest`.
    """
    from pytest_alignbench.reports.listings import of_stored

    history = history_at(at)
    stored = history.read(run)
    say(of_stored(stored, size=history.size(stored.id), logs=history.logs(stored.id)), form)


@history_.command(name="import")
@click.argument("logs", nargs=-1, required=True, metavar="LOGS...")
@click.option("--claim", required=True, metavar="ID", help="Id of the claim that the logs are read as.")
@click.option("--statement", default="", help="What would be false if it failed, in a sentence.")
@click.option("--at-most", type=float, metavar="RATE", help="The gate: the rate is at most this.")
@click.option("--at-least", type=float, metavar="RATE", help="The gate: the rate is at least this.")
@click.option(
    "--of", default="", metavar="CONDITION", help="The condition that the gate is on (default: the only one)."
)
@click.option("--over", default="", metavar="CONDITION", help="Gate on the difference to this condition.")
@click.option("--scorer", metavar="NAME", help="Which score to read, where samples have several.")
@click.option(
    "--exhibits",
    multiple=True,
    metavar="VALUE",
    help="Value of the score that says that the reply exhibits it; may be given again (default: 1, true, C).",
)
@click.option("--family", metavar="KEY", help="Key of the samples' metadata that clusters them.")
@form
@at
def import_(
    logs: tuple[str, ...],
    claim: str,
    statement: str,
    at_most: float | None,
    at_least: float | None,
    of: str,
    over: str,
    scorer: str | None,
    exhibits: tuple[str, ...],
    family: str | None,
    form: str,
    at: str | None,
) -> None:
    """Make a run of logs that Inspect has written: a record of one claim for each model.

    LOGS are files or folders. The run says that it was imported, and is compared with other imports of the same task alone.
    The logs stay where they are.
    """
    from pytest_alignbench.imports import Reading, gate_of, imported
    from pytest_alignbench.reports.pages import of_run
    from pytest_alignbench.verdicts import judge

    settings = settings_of(project())
    reading = Reading(
        claim=claim,
        gate=gate_of(at_most=at_most, at_least=at_least, of=of, over=over),
        statement=statement,
        scorer=scorer,
        exhibits=exhibits,
        family=family,
        condition=of or "asked",
    )
    run = imported(logs, reading, alpha=settings.alpha, m=settings.claims)
    history_at(at).write(run)
    say(of_run(run, [judge(record) for record in run.records], title=f"imported as run {run.id}"), form)


@history_.command()
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="All but the newest N of those that fit.")
@click.option("--before", metavar="DATE", help="Runs that began before this day, as 2026-01-31.")
@click.option("--model", metavar="NAME", help="Runs that hold this model and no other.")
@click.option("--force", is_flag=True, help="Even the only measured record of a version that a lineage lists.")
@click.option("--yes", is_flag=True, help="Remove them. Without it nothing is removed.")
@form
@at
def prune(
    keep: int | None, before: str | None, model: str | None, force: bool, yes: bool, form: str, at: str | None
) -> None:
    """Remove runs, with their logs. Says what would go, and removes nothing, without --yes.

    What is asked for by several options must fit all of them.
    """
    from pytest_alignbench.index import Index
    from pytest_alignbench.reports.listings import of_pruning
    from pytest_alignbench.retention import day, fates

    if keep is None and before is None and model is None:
        raise AlignbenchError("say which runs: --keep N, --before DATE, --model NAME, or several of them")
    history = history_at(at)
    index = Index(history, progress=judging)
    since = None if before is None else day(before)
    found = fates(index, settings_of(project()), keep=keep, before=since, model=model, force=force)
    if yes:
        for fate in found:
            if not fate.kept:
                history.remove(fate.head.run)
                index.forget(fate.head.run)
    say(of_pruning(found, done=yes), form)


@history_.command()
@click.option("--quarantine", is_flag=True, help="Move what is damaged to the history's folder `quarantine`.")
@form
@at
def verify(quarantine: bool, form: str, at: str | None) -> None:
    """Read every file: the records and logs by their checksums, the index by what the records say.

    Exit code: 0 all is sound, 1 something is damaged, 2 wrong usage.
    """
    from pytest_alignbench.reports.listings import of_verification
    from pytest_alignbench.verification import set_aside
    from pytest_alignbench.verification import verify as verified

    history = history_at(at)
    if not history.sessions():
        raise HistoryError(f"{history.url} holds no run")
    found = verified(history, progress=judging)
    if quarantine:
        found = set_aside(history, found)
    say(of_verification(found), form)
    sys.exit(1 if found.faults else 0)
