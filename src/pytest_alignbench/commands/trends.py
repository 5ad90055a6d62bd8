"""`alignbench trends`: what moves over versions and nights, in the terminal."""

from __future__ import annotations

import sys

import click

from pytest_alignbench.commands.common import at, form, say, trends_at


@click.command()
@click.option("--claim", "claims", metavar="TEXT", multiple=True, help="Only claims whose id contains this.")
@click.option("--lineage", "lineages", metavar="NAME", multiple=True, help="Only this lineage; may be given again.")
@click.option("--model", "models", metavar="NAME", multiple=True, help="Only series that hold this model.")
@form
@at
def trends(
    claims: tuple[str, ...], lineages: tuple[str, ...], models: tuple[str, ...], form: str, at: str | None
) -> None:
    """What moves over versions and nights: a line for each claim and lineage, what moved first.

    The findings are those over the whole history: choosing shows fewer of them and changes none.
    """
    from pytest_alignbench.reports.moves import of_trends
    from pytest_alignbench.reports.overviews import narrowed

    found = narrowed(trends_at(at), claims=claims, lineages=lineages, models=models)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    say(of_trends(found, blocks=draws_blocks(encoding)), form)


def draws_blocks(encoding: str) -> bool:
    """Whether text in this encoding can hold the blocks that sparklines are made of."""
    try:
        "▁▂▃▄▅▆▇█".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
