"""The index: what trends and reports need of each stored run, judged once and kept beside the records.

    History (records) ──judge──> Entry, one per record ──> <history>/index/   (rebuilt from the records when it is missing)

A record holds every reply; an entry holds the verdict on them, one number per item, and the replies that tell most. It is
a cache: nothing is in it that the records would not give again, and deleting it costs only time.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pytest_alignbench.estimates import Estimate, Relative
from pytest_alignbench.observations import Tally


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Arm(_Value):
    """One condition of a record, as measured."""

    rate: Estimate | None
    """None where nothing could be scored."""
    replies: Tally
    """planned = scored + each exclusion."""


class Reply(_Value):
    """A reply that tells much about a verdict."""

    prompt: str
    condition: str
    exhibits: bool
    label: str
    reason: str
    text: str
    """Shortened to what a page can show; the logs hold the whole."""


class Entry(_Value):
    """One claim on one model in one run: the verdict, and what it is made of."""

    run: str
    started: str
    """UTC, ISO 8601."""
    complete: bool
    """Whether the run measured all that it planned."""
    versions: dict[str, str]
    """Of the packages that measured."""
    claim: str
    statement: str
    claim_version: int
    asked: str
    """The model as it was typed: what a lineage lists."""
    model: str
    """Its Inspect name."""
    served: tuple[str, ...]
    """What the provider says answered."""
    grader: str | None
    calibration: dict[str, int] | None = None
    """The grader's results on labelled replies (tp, fn, tn, fp); `items` are as it graded, `effect` is corrected by them."""
    fingerprint: dict[str, str]
    imported: bool = False
    """Read from a log of Inspect's that another program wrote, and not measured by a run of ours."""
    stopped_at: int | None = None
    """The look at which the claim was decided early: its effect is then no measure of the model."""
    word: str
    """HOLDS, VIOLATED, INCONCLUSIVE, NOT_COMPARABLE, or ERROR where the instrument failed."""
    why: str
    allowed: str
    """The rule in words."""
    baseline: str | None = None
    """What the verdict compares with, where one was named. `effect`, `limits` and `items` are the claim's own all the same."""
    unit: Literal["rate", "points"]
    """How the effect is shown: a share in per cent, or a difference in percentage points."""
    limits: tuple[float, ...]
    """Where the rule draws its line, on the scale of the effect; two for a margin on both sides."""
    good: Literal["low", "high", "near", "steady"]
    """Which way the effect is better: lower, higher, close to 0, or neither: any change counts as worse."""
    effect: Estimate | None
    relative: Relative | None = None
    """Of a difference: the rate in its first condition over that in its second. None where the effect is a rate."""
    uses: tuple[str, ...] = ()
    """The conditions that the rule looks at, in its order: of a difference, first - second."""
    conditions: dict[str, Arm]
    items: dict[str, dict[str, float]]
    """Family -> item -> its value: the share of its epochs that exhibit, or the difference of that between two conditions."""
    alpha: float
    m: int
    notes: tuple[str, ...]
    power: str
    """What so many prompts can tell, in words."""
    telling: tuple[Reply, ...]
