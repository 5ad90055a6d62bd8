"""Retention: which runs of a history may go, and which of them must not.

    Index ──fitting: model, before──> candidates ──less the newest `keep`──> Fate(goes, or kept because ...)

A run is kept whatever was asked, unless by force, if it holds the only measured record of a claim on a version that a
lineage lists: without it there would be a hole in a trend that nothing can fill but money.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pytest_alignbench.errors import AlignbenchError
from pytest_alignbench.index import Entry, Head, Index
from pytest_alignbench.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What is to become of a run that fits what was asked."""

    head: Head
    size: int
    """Bytes, with its logs."""
    kept: str = ""
    """Why it stays all the same; empty for one that goes."""


def day(given: str) -> str:
    """A day as it is compared. Raises AlignbenchError for what is none."""
    try:
        return date.fromisoformat(given).isoformat()
    except ValueError as fault:
        raise AlignbenchError(f"--before {given}: give a day as year-month-day, such as 2026-01-31") from fault


def fates(
    index: Index,
    settings: Settings,
    *,
    keep: int | None = None,
    before: str | None = None,
    model: str | None = None,
    force: bool = False,
) -> list[Fate]:
    """Of each run that fits, oldest first. Runs that cannot be read fit nothing: they are for `verify`.

    `keep`: the newest so many of those that fit stay, and are not listed. `before`: a day, ISO 8601: only runs that began
    before it. `model`: only runs that hold this model and no other.
    """
    entries: dict[str, list[Entry]] = {}
    for entry in index.entries():
        entries.setdefault(entry.run, []).append(entry)

    def fits(head: Head) -> bool:
        mine = entries.get(head.run, [])
        of_model = model is None or (bool(mine) and all(entry.of_model(model, settings.models) for entry in mine))
        return of_model and (before is None or head.started < before)

    fitting = list(filter(fits, index.heads()))
    if keep is not None:
        fitting = fitting[: max(0, len(fitting) - keep)]
    needed = {} if force else _needed(entries, settings, fitting)
    return [Fate(head=h, size=index.history.size(h.run), kept=needed.get(h.run, "")) for h in fitting]


def _needed(entries: Mapping[str, Sequence[Entry]], settings: Settings, fitting: Sequence[Head]) -> dict[str, str]:
    """Run -> why it must stay. Of several that would leave a hole only together, the newest is the one that stays."""
    held = {
        run: [(entry.claim, name) for entry in mine for name in _listed(entry, settings)]
        for run, mine in entries.items()
    }
    left = Counter(what for mine in held.values() for what in mine)
    needed: dict[str, str] = {}
    for head in fitting:
        mine = held.get(head.run, [])
        alone = sorted({what for what in mine if left[what] == 1})
        if alone:
            claim, name = alone[0]
            also = f" and of {len(alone) - 1} more" if len(alone) > 1 else ""
            needed[head.run] = f"the only measured record of {claim} on {name}{also}"
        else:
            left.subtract(mine)
    return needed


def _listed(entry: Entry, settings: Settings) -> list[str]:
    """The names under which lineages list the model of an entry that was measured."""
    if entry.effect is None:
        return []
    names = dict.fromkeys(name for versions in settings.lineages.values() for name in versions)
    return [name for name in names if entry.of_model(name, settings.models)]
