"""Trends: one claim across the versions of a model family, and across the nights of one model.

    entries of the index ──by claim and lineage──> Series(points, breaks) ──> Finding (a sentence, its interval, its test)

A point never stands alone. Points are joined while the experiment is the same; where prompts, scorer, grader, solver or
the served model changed there is a break, and nothing is computed across it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pytest_alignbench.estimates import Estimate, Relative
from pytest_alignbench.index import Entry


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(_Value):
    """One version (or one night) of a series."""

    name: str
    """The model as it was typed; of a nightly series, the day."""
    entry: Entry
    breaks: tuple[str, ...] = ()
    """What is not as at the point before ("prompts", "scorer", "grader", "served model"…): the two are not joined."""
    counts: bool = True
    """Whether its number goes into the finding: not if it could not be measured, or stopped early."""
    step: Estimate | None = None
    """The change from the counted point before, paired on items; None at a break. Without a p-value: steps are not tested."""
    notes: tuple[str, ...] = ()
    """What to know of it: which of several runs it is, why it does not count."""


class Test(_Value):
    """One test of a finding."""

    __test__ = False  # pytest would take it for a test class

    name: str
    statistic: float
    p_value: float | None
    method: str


class Finding(_Value):
    """What the points of a series say together, since its last break."""

    kind: Literal["nothing", "change", "trend", "nightly"]
    """Nothing below two comparable points; a change below five versions, a trend from five; nightly for one model."""
    direction: Literal["better", "worse", "flat", "unclear"]
    """Flat: shown to be within the margin. Unclear: nobody can say yet."""
    value: float | None
    """Of a change, after - before; of a trend, per version; of a nightly series, the level after the last split - before."""
    ci_low: float | None
    ci_high: float | None
    """95 % interval of `value`."""
    relative: Relative | None
    """Of a change of a rate: after / before, with its 95 % interval."""
    since: str
    """Name of the first point that is compared."""
    until: str
    p_value: float | None = None
    """Of all that the finding requires: two-sided, that nothing changed."""
    adjusted: float | None = None
    """`p_value` by Benjamini and Hochberg, over all series that have one. Better and worse are said by this."""
    tests: tuple[Test, ...]
    sentence: str
    """All of it in plain words."""


class Series(_Value):
    """One claim on one lineage, on one unlisted model, or on one model over many runs."""

    claim: str
    statement: str
    lineage: str | None
    """None for models that no lineage lists: never put in an order."""
    kind: Literal["versions", "nights", "apart"]
    """Versions of a lineage in its order; runs of one model in time; unlisted models, side by side and never joined."""
    points: tuple[Point, ...]
    finding: Finding
    absent: tuple[str, ...] = ()
    """Versions that the lineage lists and that have no record of the claim."""
    shrunk: float | None = None
    """The change, drawn towards those of all claims: for ranking alone."""


class Trends(_Value):
    """All that a report shows."""

    history: str
    lineages: dict[str, tuple[str, ...]]
    series: tuple[Series, ...]
    alpha: float
    margin: float
    runs: int
    unreadable: tuple[str, ...] = ()
    """Runs whose files could not be read, with the reason."""
