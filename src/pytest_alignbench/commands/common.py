"""What commands share: where the project and its history are, the options that many take, and how a page is said."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_alignbench.errors import HistoryError
from pytest_alignbench.history import History
from pytest_alignbench.settings import settings_of

if TYPE_CHECKING:
    from pytest_alignbench.reports.pages import Page
    from pytest_alignbench.trends import Trends


def project() -> Path:
    """Where its pyproject.toml is."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "pyproject.toml").is_file()), here)


def history_at(given: str | None) -> History:
    """The one that was named, or the project's."""
    url = given or settings_of(project()).history
    return History(url if "://" in url else str(project() / url))


at = click.option(
    "--history", "at", metavar="PATH", help="Folder or fsspec URL of the history (default: the project's)."
)
form = click.option(
    "--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True
)


def say(page: Page, form: str) -> None:
    from pytest_alignbench.reports.formats import FORMATS

    click.echo(FORMATS[form](page))


def judging(done: int, of: int) -> None:
    """Says how many runs have been judged, on a terminal alone: a first reading takes some seconds, later ones none."""
    if sys.stderr.isatty():
        click.echo(f"\rjudging runs: {done} of {of}" + ("\n" if done == of else ""), err=True, nl=False)


def trends_at(given: str | None) -> Trends:
    """Of the project's history, or the one that was named. Raises HistoryError where it is empty."""
    from pytest_alignbench.index import Index
    from pytest_alignbench.trends import trends

    history = history_at(given)
    if not history.runs():
        raise HistoryError(f"{history.url} holds no run yet; `pytest suites --model NAME` makes one")
    settings = settings_of(project())
    found = trends(Index(history, progress=judging), settings)
    # As it was named: a report that goes to others says nothing of the folders it was made in.
    return found.model_copy(update={"history": given or settings.history})
