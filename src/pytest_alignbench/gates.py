"""A gate is the rule on an estimate; a verdict is the value that comes of it. Both are pure.

    observations ──effect──> Estimate ──gate──> HOLDS | VIOLATED | INCONCLUSIVE | NOT_COMPARABLE

A gate never rests on a point estimate. With L the limit and one-sided bounds of the effect,

    HOLDS       the upper bound at alpha          is within L
    VIOLATED    the lower bound at alpha / m      is beyond L    (m: the declared size of the suite)
    else        INCONCLUSIVE

so that over a suite of m claims the chance of any false red stays at most alpha (Bonferroni). Missing replies widen the
effect: it must hold if every missing reply had been adverse, and be violated if every one had been favourable.

A new gate is a frozen dataclass below, with its direction in its name, and a row in `GATES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, Self

from pytest_alignbench import estimates
from pytest_alignbench.errors import ClaimError
from pytest_alignbench.estimates import Calibration, Estimate
from pytest_alignbench.observations import Observation
from pytest_alignbench.text import percent, points


class Outcome(StrEnum):
    HOLDS = "HOLDS"
    VIOLATED = "VIOLATED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_COMPARABLE = "NOT_COMPARABLE"


@dataclass(frozen=True)
class Arm:
    """What a gate may know of a condition before it is measured: the pair and the family of each prompt."""

    prompts: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a gate may look at.

    `alpha`: one-sided level of a single decision; `m`: the declared number of decisions in the suite. `baseline`: how
    often each prompt exhibited on another model or run, by condition and hash of the prompt. `calibration`: the grader's
    labelled results, where a grader scored.
    """

    observations: Sequence[Observation]
    baseline: Mapping[tuple[str, str], float] | None = None
    calibration: Calibration | None = None
    alpha: float = 0.05
    m: int = 1


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a gate found, and why in one sentence."""

    outcome: Outcome
    effect: Estimate | None
    why: str


@dataclass(frozen=True)
class Gate(ABC):
    """The rule on an estimate. Positional: the limit; all else by keyword."""

    limit: float
    refutes_only: bool = field(default=False, kw_only=True)
    """The claim can be refuted but not confirmed: what would be HOLDS is reported as uninformative."""

    # -- to be said by each gate

    @abstractmethod
    def effect(self, evidence: Evidence, *, alpha: float) -> Estimate | None:
        """The estimate that the limit is on, with one-sided bounds at `alpha`; None where no reply was scored."""

    @abstractmethod
    def holds(self, effect: Estimate) -> bool: ...

    @abstractmethod
    def violated(self, effect: Estimate) -> bool: ...

    @property
    @abstractmethod
    def allowed(self) -> str:
        """The rule in words."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """The limit alone, for a table: `<= +5.0`."""

    @property
    @abstractmethod
    def uses(self) -> tuple[str, ...]:
        """The conditions that the gate looks at."""

    @abstractmethod
    def raises(self, condition: str) -> bool:
        """Whether exhibiting in this condition makes the effect higher."""

    @abstractmethod
    def true_rates(self, effect: float, *, base: float = 0.0) -> Mapping[str, float]:
        """Rates per condition in use under which the true effect is `effect`: what a simulated model is built from.

        `base`: the rate in the condition that is compared to, as far as the effect leaves room for it.
        """

    @abstractmethod
    def true_effect(self, rates: Mapping[str, float]) -> float: ...

    @abstractmethod
    def good(self, effect: float) -> bool:
        """Whether a true effect of this size keeps the rule."""

    @property
    @abstractmethod
    def extremes(self) -> tuple[float, float]:
        """True effects of a model that plainly keeps the rule, and of one that plainly breaks it."""

    # -- common to all

    def __post_init__(self) -> None:
        self._check_limit(-1.0, 1.0, "a difference of rates is within -1..1")

    def _check_limit(self, low: float, high: float, said: str) -> None:
        number = isinstance(self.limit, int | float) and not isinstance(self.limit, bool)
        if not (number and low <= self.limit <= high):
            hint = f"; did you mean {self.limit / 100:g}?" if number and 1 < self.limit <= 100 else ""
            raise ClaimError(f'gate "{type(self).__name__}({self.limit!r})": {said}{hint}')

    def fitted(self, arms: Mapping[str, Arm | None]) -> Self:
        """This gate for a claim with these conditions (None: prompts not known before its task is loaded).

        Raises ClaimError if it names other conditions than the claim has, or can never hold with the claim's prompts.
        """
        for name in self.uses:
            if name not in arms:
                raise ClaimError(
                    f"its gate looks at condition {name!r}, which is not one of {', '.join(map(repr, arms))}"
                )
        items = self._items(arms)
        if items is not None and not self._can_hold(items):
            raise ClaimError(
                f"its gate can never hold: {len(items)} prompts in {len(set(items))} families are too few to show that it "
                f"is {self.allowed}, even if every reply were right; {self._remedy()}"
            )
        return self

    def _remedy(self) -> str:
        needed = bisect_left(
            range(_MOST_PROMPTS), True, key=lambda n: n > 0 and self._can_hold([f"{i}" for i in range(n)])
        )
        if needed == _MOST_PROMPTS:
            return f"not even {_MOST_PROMPTS:,} prompts would do, so give it a wider limit"
        return f"it would need {needed} prompts, each of a family of its own, or a wider limit"

    @abstractmethod
    def _items(self, arms: Mapping[str, Arm | None]) -> Sequence[str] | None:
        """The family of each item that the effect is made of; None where that is not known."""

    @abstractmethod
    def _can_hold(self, families: Sequence[str]) -> bool:
        """Whether the best possible replies to items of these families would show that the rule is kept."""

    @abstractmethod
    def power(self, sizes: Mapping[str, int]) -> str:
        """What the gate can tell with so many prompts per condition, in words."""

    def judge(self, evidence: Evidence) -> Judgement:
        effect = self.effect(evidence, alpha=evidence.alpha)
        if effect is None:
            return Judgement(
                outcome=Outcome.INCONCLUSIVE, effect=None, why="no reply could be scored in " + _list(self.uses)
            )
        missing = any(o.exhibits is None for o in evidence.observations)
        worst = [self._filled(evidence, highest=highest) for highest in (True, False)] if missing else []
        if all(self.holds(self.effect(e, alpha=evidence.alpha) or effect) for e in worst) and self.holds(effect):
            if self.refutes_only:
                why = f"within the limit, but this claim can only be refuted: {self._said(effect)} confirms nothing"
                return Judgement(outcome=Outcome.INCONCLUSIVE, effect=effect, why=why)
            return Judgement(outcome=Outcome.HOLDS, effect=effect, why=f"{self._said(effect)} is within the limit")
        strictly = [self.effect(e, alpha=evidence.alpha / evidence.m) or effect for e in (evidence, *worst)]
        # Missing replies that could take it beyond either end of the limit could also leave it between them.
        widest = replace(effect, lower=min(e.lower for e in strictly), upper=max(e.upper for e in strictly))
        if all(map(self.violated, [*strictly, widest])):
            return Judgement(outcome=Outcome.VIOLATED, effect=effect, why=f"{self._said(effect)} is beyond the limit")
        why = self._undecided(effect, evidence, strict=strictly[0])
        return Judgement(outcome=Outcome.INCONCLUSIVE, effect=effect, why=why)

    def _undecided(self, effect: Estimate, evidence: Evidence, *, strict: Estimate) -> str:
        if self.holds(effect) or self.violated(strict):
            missing = sum(o.exhibits is None and o.condition in self.uses for o in evidence.observations)
            side = "within" if self.holds(effect) else "beyond"
            replies = "the 1 missing reply" if missing == 1 else f"the {missing} missing replies"
            return f"{self._said(effect)} is {side} the limit, but {replies} could change that"
        if self.violated(effect):
            return (
                f"{self._said(effect)} would be beyond the limit for a single claim, "
                f"but not at {evidence.alpha:g}/{evidence.m}, which a suite of {evidence.m} needs"
            )
        return f"{self._said(effect)} lies on both sides of the limit: more prompts would tell"

    def _said(self, effect: Estimate) -> str:
        return (
            f"{self.shown(effect.value)}, one-sided bounds {self.shown(effect.lower)} and {self.shown(effect.upper)},"
        )

    def shown(self, value: float) -> str:
        """The effect in its own unit, for people."""
        return points(value)

    def _filled(self, evidence: Evidence, *, highest: bool) -> Evidence:
        """The same evidence with each missing reply put where it makes the effect highest (or lowest)."""

        def put(o: Observation) -> Observation:
            if o.exhibits is not None:
                return o
            return o.model_copy(update={"exhibits": self.raises(o.condition) == highest, "exclusion": None})

        return Evidence(
            observations=[put(o) for o in evidence.observations],
            baseline=evidence.baseline,
            calibration=evidence.calibration,
            alpha=evidence.alpha,
            m=evidence.m,
        )

    def to_json(self) -> dict[str, Any]:
        return {"kind": type(self).__name__} | asdict(self)

    @staticmethod
    def from_json(spec: Mapping[str, Any]) -> Gate:
        fields = dict(spec)
        kind = fields.pop("kind", None)
        if kind not in GATES:
            raise ClaimError(f"gate {kind!r} is not one of {', '.join(GATES)}")
        try:
            return GATES[kind](**fields)
        except TypeError as fault:
            raise ClaimError(f"gate {kind!r}: {fault}") from fault


_MOST_PROMPTS = 10_000
"""Where the search for a number of prompts that would do ends."""


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


# -- gates on one rate


@dataclass(frozen=True)
class _RateGate(Gate):
    of: str = field(default="", kw_only=True)
    """The condition; may be left out where the claim has only one."""

    def __post_init__(self) -> None:
        self._check_limit(0.0, 1.0, "a rate is within 0..1")

    def fitted(self, arms: Mapping[str, Arm | None]) -> Self:
        """See Gate. A gate that names no condition takes the claim's only one."""
        if self.of:
            return super().fitted(arms)
        if len(arms) != 1:
            raise ClaimError(f"its gate must say of which condition: of= one of {_list(arms)}")
        return replace(self, of=next(iter(arms))).fitted(arms)

    @property
    def uses(self) -> tuple[str, ...]:
        return (self.of,)

    def effect(self, evidence: Evidence, *, alpha: float) -> Estimate | None:
        return estimates.rate_in(evidence.observations, self.of, alpha=alpha, calibration=evidence.calibration)

    def raises(self, condition: str) -> bool:
        return True

    def true_rates(self, effect: float, *, base: float = 0.0) -> Mapping[str, float]:
        return {self.of: effect}

    def true_effect(self, rates: Mapping[str, float]) -> float:
        return rates[self.of]

    def shown(self, value: float) -> str:
        return percent(value)

    def power(self, sizes: Mapping[str, int]) -> str:
        n = sizes.get(self.of)
        if n is None:
            return "not known before its task is loaded"
        distance = abs(self.limit - self._ideal)
        if distance == 1:
            return "holds whatever the replies"
        # Nearer to the limit it takes thousands of prompts, and long to compute how many.
        for rate in (0.05, 0.03, 0.02, 0.01, 0.005, 0.0):
            if rate < 0.7 * distance and estimates.prompts_needed(limit=distance, true_rate=rate) <= n:
                return f"holds in 80 % of runs if the true rate is {percent(rate)} from the ideal"
        return f"cannot hold with {n} prompts, even if every reply is right"

    def _items(self, arms: Mapping[str, Arm | None]) -> Sequence[str] | None:
        arm = arms[self.of]
        return None if arm is None else [family for _, family in arm.prompts]

    def _can_hold(self, families: Sequence[str]) -> bool:
        return self.holds(estimates.rate([self._ideal] * len(families), families))

    @property
    @abstractmethod
    def _ideal(self) -> float:
        """The rate of a perfect model."""


@dataclass(frozen=True)
class RateAtMost(_RateGate):
    """The rate of the behaviour in condition `of` is at most `limit`."""

    @property
    def rule(self) -> str:
        return f"<= {percent(self.limit)}"

    @property
    def allowed(self) -> str:
        return f"at most {percent(self.limit)} of replies in {self.of!r}"

    def holds(self, effect: Estimate) -> bool:
        return effect.upper <= self.limit

    def violated(self, effect: Estimate) -> bool:
        return effect.lower > self.limit

    def good(self, effect: float) -> bool:
        return effect <= self.limit

    @property
    def extremes(self) -> tuple[float, float]:
        return self._ideal, min(1.0, self.limit + 0.6)

    @property
    def _ideal(self) -> float:
        return 0.0


@dataclass(frozen=True)
class RateAtLeast(_RateGate):
    """The rate of the behaviour in condition `of` is at least `limit`: for behaviours that are wanted."""

    @property
    def rule(self) -> str:
        return f">= {percent(self.limit)}"

    @property
    def allowed(self) -> str:
        return f"at least {percent(self.limit)} of replies in {self.of!r}"

    def holds(self, effect: Estimate) -> bool:
        return effect.lower >= self.limit

    def violated(self, effect: Estimate) -> bool:
        return effect.upper < self.limit

    def good(self, effect: float) -> bool:
        return effect >= self.limit

    @property
    def extremes(self) -> tuple[float, float]:
        return self._ideal, max(0.0, self.limit - 0.6)

    @property
    def _ideal(self) -> float:
        return 1.0


# -- gates on a difference between two conditions


@dataclass(frozen=True)
class _DifferenceGate(Gate):
    of: str = field(kw_only=True)
    over: str = field(kw_only=True)

    @property
    def uses(self) -> tuple[str, ...]:
        return (self.of, self.over)

    def fitted(self, arms: Mapping[str, Arm | None]) -> Self:
        """See Gate."""
        if self.of == self.over:
            raise ClaimError(f"its gate compares condition {self.of!r} with itself; of= and over= are two conditions")
        return super().fitted(arms)

    def effect(self, evidence: Evidence, *, alpha: float) -> Estimate | None:
        return estimates.difference_between(
            evidence.observations, of=self.of, over=self.over, alpha=alpha, calibration=evidence.calibration
        )

    def raises(self, condition: str) -> bool:
        return condition == self.of

    def true_effect(self, rates: Mapping[str, float]) -> float:
        return rates[self.of] - rates[self.over]

    def power(self, sizes: Mapping[str, int]) -> str:
        n = min(sizes.get(self.of, 0), sizes.get(self.over, 0))
        if not n:
            return "not known before its tasks are loaded"
        least = estimates.detectable_difference(n=n, rate=0.1, correlation=0.5)
        return (
            f"at best tells {points(least, signed=False)} from the limit in 80 % of runs "
            "(paired test at a rate of 10 %, partners correlated .5; the bounds that decide are wider)"
        )

    def true_rates(self, effect: float, *, base: float = 0.0) -> Mapping[str, float]:
        over = min(max(base, -effect), 1 - max(effect, 0))
        return {self.of: over + effect, self.over: over}

    def _items(self, arms: Mapping[str, Arm | None]) -> Sequence[str] | None:
        first, second = arms[self.of], arms[self.over]
        if first is None or second is None:
            return None
        partners = {pair for pair, _ in second.prompts}
        shared = {pair: family for pair, family in first.prompts if pair in partners}
        return list(shared.values()) or None

    def _can_hold(self, families: Sequence[str]) -> bool:
        return self.holds(estimates.difference([self._ideal] * len(families), families))

    @property
    @abstractmethod
    def _ideal(self) -> float:
        """The difference of a perfect model."""


@dataclass(frozen=True)
class DifferenceAtMost(_DifferenceGate):
    """The behaviour is at most `limit` (in rate) more frequent in condition `of` than in condition `over`."""

    @property
    def rule(self) -> str:
        return f"<= {points(self.limit)}"

    @property
    def allowed(self) -> str:
        return f"at most {points(self.limit)} in {self.of!r} over {self.over!r}"

    def holds(self, effect: Estimate) -> bool:
        return effect.upper <= self.limit

    def violated(self, effect: Estimate) -> bool:
        return effect.lower > self.limit

    def good(self, effect: float) -> bool:
        return effect <= self.limit

    @property
    def extremes(self) -> tuple[float, float]:
        if self.limit >= 0:
            return 0.0, min(1.0, self.limit + 0.6)
        return max(-1.0, min(self.limit - 0.6, -0.9)), max(0.0, self.limit + 0.3)

    @property
    def _ideal(self) -> float:
        return 0.0 if self.limit >= 0 else -1.0


@dataclass(frozen=True)
class DifferenceAtLeast(_DifferenceGate):
    """The behaviour is at least `limit` more frequent in condition `of` than in `over`: for wanted behaviours."""

    @property
    def rule(self) -> str:
        return f">= {points(self.limit)}"

    @property
    def allowed(self) -> str:
        return f"at least {points(self.limit)} in {self.of!r} over {self.over!r}"

    def holds(self, effect: Estimate) -> bool:
        return effect.lower >= self.limit

    def violated(self, effect: Estimate) -> bool:
        return effect.upper < self.limit

    def good(self, effect: float) -> bool:
        return effect >= self.limit

    @property
    def extremes(self) -> tuple[float, float]:
        return min(1.0, max(self.limit + 0.6, 0.9)), max(-1.0, min(0.0, self.limit - 0.3))

    @property
    def _ideal(self) -> float:
        return 1.0 if self.limit > 0 else 0.0


@dataclass(frozen=True)
class WithinMargin(_DifferenceGate):
    """The two conditions differ by at most `limit` either way: equivalence, or an A/A test."""

    def __post_init__(self) -> None:
        self._check_limit(0.0, 1.0, "a margin is within 0..1")

    @property
    def rule(self) -> str:
        return f"within {points(self.limit, signed=False)}"

    @property
    def allowed(self) -> str:
        return f"within {points(self.limit, signed=False)} either way, {self.of!r} over {self.over!r}"

    def holds(self, effect: Estimate) -> bool:
        return -self.limit <= effect.lower and effect.upper <= self.limit

    def violated(self, effect: Estimate) -> bool:
        return effect.lower > self.limit or effect.upper < -self.limit

    def good(self, effect: float) -> bool:
        return abs(effect) <= self.limit

    @property
    def extremes(self) -> tuple[float, float]:
        return 0.0, min(1.0, self.limit + 0.6)

    @property
    def _ideal(self) -> float:
        return 0.0


# -- gates on the change from a baseline


Worse = Literal["higher", "lower", "either"]


@dataclass(frozen=True)
class NotWorseThanBaseline(Gate):
    """The behaviour is at most `limit` worse than on the baseline, on the same prompts: a regression gate.

    What is compared is the rate in `of`, or with `over` the difference between the two conditions. `worse`: which way is
    worse. The margin is not a rate that may be lost each time: it is how much worse still counts as noise.
    """

    of: str = field(kw_only=True)
    over: str = field(default="", kw_only=True)
    worse: Worse = field(default="higher", kw_only=True)

    def __post_init__(self) -> None:
        self._check_limit(0.0, 1.0, "a margin is within 0..1")

    @property
    def uses(self) -> tuple[str, ...]:
        return (self.of, self.over) if self.over else (self.of,)

    @property
    def rule(self) -> str:
        return f"worse by <= {points(self.limit, signed=False)}"

    @property
    def allowed(self) -> str:
        what = f"{self.of!r} over {self.over!r}" if self.over else f"{self.of!r}"
        return f"at most {points(self.limit, signed=False)} worse than the baseline in {what} ({self.worse} is worse)"

    def judge(self, evidence: Evidence) -> Judgement:
        if evidence.baseline is None:
            return Judgement(outcome=Outcome.NOT_COMPARABLE, effect=None, why="there is no baseline to compare with")
        if not any((o.condition, o.prompt_hash) in evidence.baseline for o in evidence.observations):
            return Judgement(
                outcome=Outcome.NOT_COMPARABLE, effect=None, why="the baseline shares no prompt with this run"
            )
        return super().judge(evidence)

    def effect(self, evidence: Evidence, *, alpha: float) -> Estimate | None:
        """The change in points, positive where it is worse (as it is where either way is)."""
        now = _means(o for o in evidence.observations if o.condition in self.uses)
        before = evidence.baseline or {}
        items: dict[str, dict[str, tuple[float, float, str]]] = {}
        for (condition, pair), (hash, family, mean) in now.items():
            if (condition, hash) in before:
                items.setdefault(pair, {})[condition] = (mean, before[condition, hash], family)
        shared = [item for item in items.values() if len(item) == len(self.uses)]
        if not shared:
            return None
        sign = -1.0 if self.worse == "lower" else 1.0
        changes = [sign * self._change(item) for item in shared]
        left_out = len({pair for _, pair in now}) - len(shared)
        # A difference of differences spans -2..2; half of it is a paired difference, and is bounded as one.
        scale = 2.0 if self.over else 1.0
        half = estimates.difference(
            [change / scale for change in changes],
            [item[self.of][2] for item in shared],
            alpha=alpha,
            calibration=evidence.calibration,
            notes=(f"{left_out} items without a partner in the baseline",) if left_out else (),
        )
        return half if scale == 1.0 else estimates.scaled(half, scale)

    def _change(self, item: Mapping[str, tuple[float, float, str]]) -> float:
        now, before, _ = item[self.of]
        if not self.over:
            return now - before
        now_over, before_over, _ = item[self.over]
        return (now - now_over) - (before - before_over)

    def holds(self, effect: Estimate) -> bool:
        return effect.upper <= self.limit and (self.worse != "either" or effect.lower >= -self.limit)

    def violated(self, effect: Estimate) -> bool:
        if self.worse == "either":
            return effect.lower > self.limit or effect.upper < -self.limit
        return effect.lower > 0 and effect.upper > self.limit

    def raises(self, condition: str) -> bool:
        return (condition == self.of) == (self.worse != "lower")

    def good(self, effect: float) -> bool:
        return effect <= self.limit if self.worse != "either" else abs(effect) <= self.limit

    def true_rates(self, effect: float, *, base: float = 0.0) -> Mapping[str, float]:
        """A simulated model has no baseline of its own: its rate in `of` is the effect itself."""
        rate = 1 - effect if self.worse == "lower" else effect
        return {self.of: rate} | ({self.over: base} if self.over else {})

    def true_effect(self, rates: Mapping[str, float]) -> float:
        return 1 - rates[self.of] if self.worse == "lower" else rates[self.of]

    @property
    def extremes(self) -> tuple[float, float]:
        return 0.0, min(1.0, self.limit + 0.6)

    def _items(self, arms: Mapping[str, Arm | None]) -> Sequence[str] | None:
        """Not known: which prompts the baseline shares is seen when it is."""
        return None

    def _can_hold(self, families: Sequence[str]) -> bool:
        return True

    def power(self, sizes: Mapping[str, int]) -> str:
        n = min((sizes.get(name, 0) for name in self.uses), default=0)
        if not n:
            return "not known before its task is loaded"
        least = estimates.detectable_difference(n=n, rate=0.1, correlation=0.5)
        return (
            f"at best tells a change of {points(least, signed=False)} in 80 % of runs "
            "(paired test at a rate of 10 %, runs correlated .5; the bounds that decide are wider)"
        )


def _means(observations: Iterable[Observation]) -> dict[tuple[str, str], tuple[str, str, float]]:
    """(condition, pair) -> hash, family and mean over epochs of each scored prompt."""
    scores: dict[tuple[str, str], list[float]] = {}
    place: dict[tuple[str, str], tuple[str, str]] = {}
    for o in observations:
        if o.exhibits is not None:
            scores.setdefault((o.condition, o.pair), []).append(float(o.exhibits))
            place[o.condition, o.pair] = (o.prompt_hash, o.family)
    return {key: (*place[key], sum(seen) / len(seen)) for key, seen in scores.items()}


def regression_gate(own: Gate, *, margin: float) -> NotWorseThanBaseline:
    """The regression gate of a claim whose own gate is another: the same effect, compared to the baseline's."""
    if isinstance(own, NotWorseThanBaseline):
        return own
    worse: Worse = "either" if isinstance(own, WithinMargin) else "lower" if own.good(1.0) else "higher"
    return NotWorseThanBaseline(margin, of=own.uses[0], over=own.uses[1] if len(own.uses) > 1 else "", worse=worse)


GATES: dict[str, type[Gate]] = {
    gate.__name__: gate
    for gate in (RateAtMost, RateAtLeast, DifferenceAtMost, DifferenceAtLeast, WithinMargin, NotWorseThanBaseline)
}
