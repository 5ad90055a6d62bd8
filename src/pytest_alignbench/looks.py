"""Stopping early, honestly: five looks at the data, each at a smaller alpha, in whole families.

    families in a fixed order, in five blocks ──block done──> decided at LOOK_SHARE x alpha? ──> stop, or the next block

Peeking at the full alpha every few replies finds an effect where there is none in .15 to .18 of runs (nominal .05). Five
looks at .02 each keep the error at the boundary at .045 to .047 (Pocock 1977 for the idea of equal looks). Families are
never split by a look, since the prompts of a family stand or fall together.

This is a manager for Inspect's `EarlyStopping`: Inspect asks it before each sample, and it makes samples wait until the
look before theirs has been taken.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from inspect_ai.util import EarlyStop
from pydantic import JsonValue

from pytest_alignbench.data import digest

if TYPE_CHECKING:
    from inspect_ai.dataset import Sample
    from inspect_ai.log import EvalSpec
    from inspect_ai.scorer import SampleScore

LOOKS = 5
LOOK_SHARE = 0.4
"""Of the session's alpha, spent at each look: .02 of .05."""


class Looks:
    """Inspect's early-stopping manager for one claim.

    `families`: (sample id, epoch) -> family of every planned reply. `decided`: whether the replies so far decide.
    """

    def __init__(self, families: Mapping[tuple[str, int], str], *, decided: Callable[[], bool]) -> None:
        self._decided = decided
        # In the order of their hashes: the order of a file may follow its topics.
        order = sorted(set(families.values()), key=digest)
        block_of = {family: index * LOOKS // len(order) for index, family in enumerate(order)}
        self._block = {id: block_of[family] for (id, _), family in families.items()}
        self._left = Counter(block_of[family] for family in families.values())
        self._passed = [asyncio.Event() for _ in range(LOOKS)]
        self.stopped_at: int | None = None
        """The look at which it was decided, from 1; None while it is not."""

    @property
    def open(self) -> int:
        """Replies that may be asked for now and are not there yet."""
        return sum(left for block, left in self._left.items() if block == 0 or self._passed[block - 1].is_set()) * (
            self.stopped_at is None
        )

    def block(self, id: str) -> int:
        """Which look the reply belongs to, from 0."""
        return self._block[id]

    def may_ask(self, id: str) -> bool:
        """Whether the look before it has been taken, and did not decide."""
        return self.stopped_at is None and (self._block[id] == 0 or self._passed[self._block[id] - 1].is_set())

    def saw(self, id: str) -> None:
        """A reply has been scored or excluded."""
        block = self._block[id]
        self._left[block] -= 1
        if self._left[block] == 0 and self.stopped_at is None:
            if block + 1 < LOOKS and self._decided():
                self.stopped_at = block + 1
                for event in self._passed:
                    event.set()
            self._passed[block].set()

    # -- Inspect's protocol

    async def start_task(self, task: EvalSpec, samples: list[Sample], epochs: int) -> str:
        return "alignbench looks"

    async def schedule_sample(self, id: str | int, epoch: int) -> EarlyStop | None:
        block = self._block[str(id)]
        if block > 0:
            await self._passed[block - 1].wait()
            if self.stopped_at is not None and block >= self.stopped_at:
                return EarlyStop(id=id, epoch=epoch, reason=f"decided at look {self.stopped_at} of {LOOKS}")
        return None

    async def complete_sample(self, id: str | int, epoch: int, scores: dict[str, SampleScore]) -> None:
        """Nothing to do: the run engine says by `saw` what became of a reply, excluded ones too."""

    async def complete_task(self) -> dict[str, JsonValue]:
        return {"looks": LOOKS, "stopped_at": self.stopped_at}
