"""One scored reply, and what became of a planned reply that could not be scored.

An observation is the atom of everything above it::

    planned reply ──┬── scored    -> exhibits is True or False
                    └── excluded  -> exhibits is None, and `exclusion` says why

Nothing is ever dropped: planned = scored + the sum over all exclusions. An outage, a limit or a truncated reply says
nothing about behaviour, so it is never False and never 0.0.

Observations cross process borders and live in history files, so they hold JSON primitives only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class Exclusion(StrEnum):
    """Why a planned reply gave no observation. The instrument's failure, never the model's behaviour."""

    ERRORED = "errored"
    """The call or the solver failed after its retries."""
    TRUNCATED = "truncated"
    """The reply stopped at its token limit or the context's end."""
    FILTERED = "filtered"
    """The provider's content filter withheld or cut the reply."""
    EMPTY = "empty"
    """The reply holds no words: nothing, or white space and punctuation alone."""
    LIMIT = "limit"
    """A time, token, message or cost limit ended the sample."""
    GRADER_FAILED = "grader-failed"
    """The scorer or its grader gave no usable grade."""
    UNMEASURED = "unmeasured"
    """Never asked: the run was stopped, or its budget was spent, before this reply."""


class Observation(BaseModel):
    """One planned reply: which prompt, in which condition, and what was seen.

    `exhibits` is None exactly when `exclusion` names the cause.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    """Id of the prompt within its condition."""
    prompt_hash: str
    """Hash of everything the model is asked: pairs observations across runs and models."""
    condition: str
    family: str
    """The template or topic that the prompt came from: the cluster of the statistics."""
    pair: str
    """Links the prompts that are the same item in different conditions."""
    epoch: int = 1
    exhibits: bool | None
    exclusion: Exclusion | None = None
    reason: str = ""
    """In words: why excluded, or what the scorer based its score on."""
    label: str = ""
    """The scorer's finer class, where it has one (a partial refusal, say)."""
    reply: str = ""
    """The text that was scored."""
    served_model: str = ""
    """The model that the provider says answered."""
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 1
    """Requests that it took, retries among them."""
    sample: str = ""
    """Inspect's uuid of the sample: finds the transcript in the log."""

    @model_validator(mode="after")
    def _scored_or_excluded(self) -> Self:
        if (self.exhibits is None) != (self.exclusion is not None):
            raise ValueError(
                f"observation of prompt {self.prompt!r}: exhibits={self.exhibits!r} with exclusion={self.exclusion!r}; "
                "a reply is either scored (exhibits True or False) or excluded for a cause"
            )
        return self


class Tally(BaseModel):
    """The row that adds up: planned = scored + each exclusion."""

    model_config = ConfigDict(frozen=True)

    planned: int
    scored: int
    exhibiting: int
    excluded: dict[Exclusion, int]

    @classmethod
    def of(cls, observations: Iterable[Observation]) -> Self:
        seen = list(observations)
        causes = Counter(o.exclusion for o in seen if o.exclusion is not None)
        return cls(
            planned=len(seen),
            scored=sum(o.exhibits is not None for o in seen),
            exhibiting=sum(o.exhibits is True for o in seen),
            excluded={cause: causes[cause] for cause in Exclusion if causes[cause]},
        )

    @classmethod
    def total(cls, tallies: Iterable[Self]) -> Self:
        """All of them together."""
        seen = list(tallies)
        causes = {cause: sum(t.excluded.get(cause, 0) for t in seen) for cause in Exclusion}
        return cls(
            planned=sum(t.planned for t in seen),
            scored=sum(t.scored for t in seen),
            exhibiting=sum(t.exhibiting for t in seen),
            excluded={cause: count for cause, count in causes.items() if count},
        )

    def __str__(self) -> str:
        """`117 of 120 scored (2 truncated, 1 errored)`"""
        if not self.excluded:
            return f"{self.scored} of {self.planned} scored"
        causes = ", ".join(f"{count} {cause.value}" for cause, count in self.excluded.items())
        return f"{self.scored} of {self.planned} scored ({causes})"


def by_condition(observations: Iterable[Observation]) -> Mapping[str, list[Observation]]:
    """Observations grouped by condition, in order of first appearance."""
    groups: dict[str, list[Observation]] = {}
    for observation in observations:
        groups.setdefault(observation.condition, []).append(observation)
    return groups
