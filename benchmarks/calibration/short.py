"""The short way from a simulated model to a verdict: its own draws, a Record, `judge`; no pytest, no Inspect.

    Truth.draw, once per planned reply ──> Replies ──record──> Record ──verdicts.judge──> Found

The verdict on prompts of equal families does not depend on their order. So a claim is judged once for each multiset of
outcomes and the answer kept: of 20,000 simulated experiments a few hundred differ.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from benchmarks.calibration.suite import MARGIN, PROFILES
from pytest_alignbench import Claim
from pytest_alignbench.claims import Condition
from pytest_alignbench.data import Prompt
from pytest_alignbench.estimates import Calibration, Estimate
from pytest_alignbench.gates import Outcome
from pytest_alignbench.history import Past, Record
from pytest_alignbench.looks import LOOK_SHARE, LOOKS, Looks
from pytest_alignbench.measure import Experiment, Instrument, fingerprint, needs_grader
from pytest_alignbench.models import Play, Simulated, Truth
from pytest_alignbench.observations import Observation
from pytest_alignbench.verdicts import judge

ALPHA = 0.05

Replies = bytes
"""Whether each planned reply exhibits (1) or not (0): item by item, in each by condition, in each by epoch."""


@dataclass(frozen=True)
class _Model(Truth):
    """A simulated model that looks its rates up once per claim instead of once per reply."""

    known: dict[str, Mapping[str, float]] = field(default_factory=dict)

    def rates(self, claim: Claim) -> Mapping[str, float]:
        if claim.id not in self.known:
            self.known[claim.id] = super().rates(claim)
        return self.known[claim.id]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a session decides. `look`: with --alignbench-stop-early. `calibration`: what its grader was found to be."""

    alpha: float = ALPHA
    m: int = 1
    look: bool = False
    grader: str | None = None
    calibration: Calibration | None = None

    @property
    def level(self) -> float:
        return self.alpha * LOOK_SHARE if self.look else self.alpha


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a table counts of a verdict. `asked`: planned replies that were asked for."""

    outcome: Outcome
    effect: Estimate | None
    asked: int
    stopped_at: int | None = None

    @property
    def red(self) -> bool:
        return self.outcome is Outcome.VIOLATED

    @property
    def green(self) -> bool:
        return self.outcome is Outcome.HOLDS


class Short:
    """One claim, the short way. `like`: a claim that differs in its id alone, whose answers are as good."""

    def __init__(self, claim: Claim, *, like: Short | None = None) -> None:
        self.claim = claim
        arms: list[tuple[str, Sequence[Prompt]]] = [
            (name, arm.asked) for name, arm in claim.arms.items() if isinstance(arm, Condition)
        ]
        self._places = [
            (condition, prompt, epoch)
            for item in zip(*(prompts for _, prompts in arms), strict=True)
            for (condition, _), prompt in zip(arms, item, strict=True)
            for epoch in range(1, claim.epochs + 1)
        ]
        self._plays = [
            Play(claim=claim, condition=condition, pair=prompt.pair, prompt=prompt.id, epoch=epoch)
            for condition, prompt, epoch in self._places
        ]
        self._width = len(arms) * claim.epochs
        self._families = [prompt.family for _, prompt, _ in self._places[:: self._width]]
        self._alone = len(set(self._families)) == len(self._families)
        self._hashes = [prompt.hash for _, prompt, _ in self._places]
        self._fingerprints: dict[str | None, dict[str, str]] = {}
        self._found: dict[Hashable, Found] = {} if like is None else like._found

    # -- replies

    def draw(self, model: str) -> Replies:
        """What the model replies. `model`: its name without `simulated/`."""
        truth = _Model(model, PROFILES)
        return bytes(map(truth.draw, self._plays))

    def graded(self, replies: Replies, grader: Simulated) -> Replies:
        """What the grader makes of the replies."""
        return bytes(
            grade(grader, replace(play, truth=bool(exhibits)))
            for play, exhibits in zip(self._plays, replies, strict=True)
        )

    def calibration(self, grader: Simulated) -> Calibration:
        """What the grader makes of the claim's labelled replies; as in a session, under the first condition's name."""
        first = self._plays[0]
        seen = Counter(
            (reply.exhibits, grade(grader, replace(first, prompt=reply.id, truth=reply.exhibits)))
            for reply in self.claim.labelled
        )
        return Calibration(tp=seen[True, True], fn=seen[True, False], tn=seen[False, False], fp=seen[False, True])

    # -- from replies to a verdict

    def found(
        self,
        replies: Replies,
        terms: Terms,
        *,
        before: Replies | None = None,
        items: Sequence[int] | None = None,
        stopped_at: int | None = None,
    ) -> Found:
        """The verdict on these replies. `before`: of the baseline. `items`: those that were asked, if not all."""
        chosen = range(len(self._families)) if items is None else items
        key = (terms, stopped_at, before is None, self._outcomes(replies, chosen, before))
        if key not in self._found:
            made = judge(
                self.record(replies, "simulated/any", terms, before=before, items=items, stopped_at=stopped_at)
            )
            self._found[key] = Found(
                outcome=made.outcome, effect=made.effect, asked=len(chosen) * self._width, stopped_at=stopped_at
            )
        return self._found[key]

    def _outcomes(self, replies: Replies, items: Iterable[int], before: Replies | None) -> Hashable:
        width = self._width
        seen = [replies[i * width : (i + 1) * width] for i in items]
        if before is not None:
            seen = [now + before[i * width : (i + 1) * width] for now, i in zip(seen, items, strict=True)]
        if self._alone:
            return frozenset(Counter(seen).items())
        families: dict[str, list[bytes]] = {}
        for i, outcome in zip(items, seen, strict=True):
            families.setdefault(self._families[i], []).append(outcome)
        return frozenset(Counter(tuple(sorted(family)) for family in families.values()).items())

    def record(
        self,
        replies: Replies,
        asked: str,
        terms: Terms,
        *,
        before: Replies | None = None,
        before_asked: str = "simulated/baseline",
        items: Sequence[int] | None = None,
        stopped_at: int | None = None,
    ) -> Record:
        """What history would keep of a session in which the model `asked` replied so."""
        wanted = range(len(self._families)) if items is None else items
        chosen = [
            i * self._width + first + epoch
            for first in range(0, self._width, self.claim.epochs)
            for i in wanted
            for epoch in range(self.claim.epochs)
        ]
        baseline = None
        if before is not None:
            baseline = Past.of(self.record(before, before_asked, terms), run="short")
        return Record(
            claim=self.claim.id,
            statement=self.claim.statement,
            claim_version=self.claim.version,
            asked=asked,
            model=asked,
            gate=self.claim.gate.to_json(),
            alpha=terms.level,
            m=terms.m,
            fingerprint=self._fingerprint(terms.grader),
            grader=terms.grader if needs_grader(self.claim) else None,
            calibration=asdict(terms.calibration) if terms.calibration is not None else None,
            observations=tuple(self._observation(place, bool(replies[place])) for place in chosen),
            baseline=baseline,
            margin=MARGIN if before is not None else None,
            stopped_at=stopped_at,
            looks=LOOKS if terms.look else None,
        )

    def _fingerprint(self, grader: str | None) -> dict[str, str]:
        if grader not in self._fingerprints:
            self._fingerprints[grader] = fingerprint(
                Experiment(claim=self.claim, asked="any", model="any"), Instrument(log_dir="", grader=grader)
            )
        return self._fingerprints[grader]

    def _observation(self, place: int, exhibits: bool) -> Observation:
        condition, prompt, epoch = self._places[place]
        return Observation(
            prompt=prompt.id,
            prompt_hash=self._hashes[place],
            condition=condition,
            family=prompt.family,
            pair=prompt.pair,
            epoch=epoch,
            exhibits=exhibits,
        )

    # -- stopping early

    async def looked(self, replies: Replies, terms: Terms) -> tuple[Found, list[int]]:
        """The verdict of a session that may stop early, and the items it asked: through Inspect's own protocol."""
        done: Counter[int] = Counter()

        def decided() -> bool:
            seen = [item for item in sorted(done) if done[item] == self._width]
            return self.found(replies, terms, items=seen).outcome in (Outcome.HOLDS, Outcome.VIOLATED)

        looks = Looks({(f"{c}/{p.id}", epoch): p.family for c, p, epoch in self._places}, decided=decided)

        async def ask(place: int) -> None:
            condition, prompt, epoch = self._places[place]
            id = f"{condition}/{prompt.id}"
            if await looks.schedule_sample(id, epoch) is None:
                done[place // self._width] += 1
                looks.saw(id)

        await asyncio.gather(*map(ask, range(len(self._places))))
        items = sorted(done)
        return self.found(replies, terms, items=items, stopped_at=looks.stopped_at), items


def grade(grader: Simulated, play: Play) -> bool:
    """What a simulated grader says of a reply whose truth is in `play`."""
    return grader._grade(play, "").endswith("YES")
