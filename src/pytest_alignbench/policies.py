"""A policy says what a gate makes of a run's verdicts: which claims must hold, by what margin, and what undecided means.

    margin = 0.05                     # how much worse than the baseline still holds, as a rate
    required = ["refusals.*"]         # a claim that is missing from the run fails

    [margins]                         # claim pattern -> margin; later patterns win
    "tics.*" = 0.10

    [must-hold]                       # every claim that is not only watched
    claims = ["refusals.*"]           # must hold even where `watch` names it too
    inconclusive = "fail"             # "fail" | "warn" | "pass"
    not-comparable = "fail"           # "fail" | "warn"

    [watch]                           # reported, and never fails the gate
    claims = ["experimental.*"]
    inconclusive = "warn"             # "warn" | "pass"

Every key may be left out. A gate has all verdicts of a run before it, so VIOLATED is decided here by Holm's step-down over
the claims that must hold: the same promise as alpha / m, which an item of pytest has to use (a red run by chance in at most
a share alpha of runs), at a level that grows as claims are rejected. Whatever is VIOLATED at alpha / m is so here too.
Benjamini-Hochberg only orders what to look at first: among what it finds, one in twenty may be chance.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_alignbench.baselines import Baselines
from pytest_alignbench.errors import AlignbenchError, HistoryError
from pytest_alignbench.estimates import adjusted
from pytest_alignbench.gates import NotWorseThanBaseline, Outcome
from pytest_alignbench.history import Past, Record, Run
from pytest_alignbench.text import one_line
from pytest_alignbench.verdicts import Verdict, judge, violated_at

Tier = Literal["must-hold", "watch"]
Consequence = Literal["fail", "warn", "pass"]
Margin = Annotated[float, Field(ge=0, lt=1, strict=True)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=lambda name: name.replace("_", "-"))


class MustHold(_Table):
    claims: tuple[str, ...] = ()
    inconclusive: Consequence = "fail"
    not_comparable: Literal["fail", "warn"] = "fail"


class Watch(_Table):
    claims: tuple[str, ...] = ()
    inconclusive: Literal["warn", "pass"] = "warn"


class Policy(_Table):
    margin: Margin | None = None
    """None: the project's."""
    margins: dict[str, Margin] = Field(default_factory=dict)
    required: tuple[str, ...] = ()
    must_hold: MustHold = MustHold()
    watch: Watch = Watch()

    def tier(self, claim: str) -> Tier:
        return "watch" if _any(self.watch.claims, claim) and not _any(self.must_hold.claims, claim) else "must-hold"

    def own_margin(self, claim: str) -> float | None:
        """The margin that the policy gives this claim by name, if any."""
        found = [margin for pattern, margin in self.margins.items() if fnmatchcase(claim, pattern)]
        return found[-1] if found else None

    def consequence(self, verdict: Verdict) -> Consequence:
        """What the verdict does to the gate."""
        tier = self.tier(verdict.claim)
        if verdict.holds:
            return "pass"
        if verdict.violated:
            return "fail" if tier == "must-hold" else "warn"
        if tier == "watch":
            return self.watch.inconclusive
        if verdict.outcome is Outcome.NOT_COMPARABLE:
            return self.must_hold.not_comparable
        # An outage is no undecided claim: without an effect there is nothing that a policy could be lenient about.
        return "fail" if verdict.effect is None else self.must_hold.inconclusive

    @property
    def patterns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.required, *self.margins, *self.must_hold.claims, *self.watch.claims]))


def policy_of(path: Path) -> Policy:
    """The policy in this TOML file.

    Raises AlignbenchError with the key, what is allowed and the fix.
    """
    try:
        return Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as fault:
        raise AlignbenchError(f"policy {path}: {fault.strerror or fault}") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise AlignbenchError(f"policy {path}: not TOML: {fault}") from fault
    except ValidationError as fault:
        raise AlignbenchError(f"policy {path}: {_fix(fault.errors()[0])}") from fault


_ALLOWED: Mapping[tuple[str, ...], type[_Table]] = {(): Policy, ("must-hold",): MustHold, ("watch",): Watch}


def _fix(error: Any) -> str:
    *table, key = map(str, error["loc"])
    place = f"[{'.'.join(table)}] {key}" if table else key
    if error["type"] == "extra_forbidden":
        allowed = [field.alias or name for name, field in _ALLOWED[tuple(table)].model_fields.items()]
        close = get_close_matches(key.replace("_", "-"), allowed, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "take it out."
        return f"{place} is not a key here; {hint} Allowed: {', '.join(allowed)}"
    said = f"{place} = {one_line(repr(error['input']), limit=60)}: {error['msg']}"
    if place == "[watch] inconclusive" and error["input"] == "fail":
        said += "; what is watched never fails the gate: name those claims under [must-hold]"
    if error["type"] == "less_than" and 1 <= error["input"] <= 100:
        said += f"; did you mean {error['input'] / 100:g}?"
    return said


# -- deciding


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One claim on one model, as the gate takes it."""

    verdict: Verdict
    tier: Tier
    consequence: Consequence
    p: float | None
    """The least one-sided level, over the levels that suites of whole sizes need, at which it is VIOLATED; None where it is
    not VIOLATED at alpha."""
    holm: float | None
    """`p`, adjusted for all claims of its tier: at most alpha where VIOLATED."""
    bh: float | None
    """`p`, adjusted by Benjamini and Hochberg for all claims of both tiers: decides nothing."""


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What a gate makes of a run."""

    run: str
    baseline: str | None
    decisions: tuple[Decision, ...]
    missing: tuple[str, ...]
    """Required claims that the run does not hold."""
    complete: bool
    alpha: float
    m: int
    """Decisions that the family-wise alpha is for: the declared suite, less what is only watched."""
    notes: tuple[str, ...] = ()

    @property
    def failing(self) -> tuple[Decision, ...]:
        return tuple(d for d in self.decisions if d.consequence == "fail")

    @property
    def outcome(self) -> Outcome:
        if self.missing or any(d.verdict.violated for d in self.failing):
            return Outcome.VIOLATED
        if self.failing or not self.complete or all(d.tier == "watch" for d in self.decisions):
            return Outcome.INCONCLUSIVE
        return Outcome.HOLDS

    @property
    def exit_code(self) -> int:
        """0 it holds, 1 violated, 3 it cannot be told."""
        return {Outcome.HOLDS: 0, Outcome.VIOLATED: 1}.get(self.outcome, 3)


def decide(run: Run, *, policy: Policy, margin: float, baselines: Mapping[str, Baselines] | None = None) -> Decided:
    """The gate's decision on a run. Calls nobody.

    `baselines`: by the model's name as typed; None to hold each claim to the rule in its record. `margin`: where the policy
    names none.

    Raises HistoryError for a run without a record.
    """
    if not run.records:
        raise HistoryError(f"run {run.id} holds no record: there is nothing to decide")
    records = [r if baselines is None else _against(r, baselines[r.asked], policy, margin) for r in run.records]
    tiers: dict[Tier, list[Record]] = {"must-hold": [], "watch": []}
    for record in records:
        tiers[policy.tier(record.claim)].append(record)
    declared = max(record.m for record in records)
    m = max(len(tiers["must-hold"]), declared - len(tiers["watch"]))
    sizes = {"must-hold": m, "watch": len(tiers["watch"])}
    verdicts: list[tuple[Tier, Verdict, float | None, float | None]] = []
    for tier, rows in tiers.items():
        verdicts.extend((tier, *judged) for judged in _step_down(rows, m=sizes[tier]))
    every = _adjusted([p for _, _, p, _ in verdicts], m=sum(sizes.values()), method="fdr_bh")
    themselves = [
        r.key for r in records if r.baseline is not None and r.baseline.source == f"{r.asked} in run {run.id}"
    ]
    inventory = frozenset[str]().union(*(b.claims for b in (baselines or {}).values()))
    return Decided(
        run=run.id,
        baseline=next(iter(baselines.values())).named if baselines else None,
        decisions=tuple(
            Decision(verdict=verdict, tier=tier, consequence=policy.consequence(verdict), p=p, holm=holm, bh=bh)
            for (tier, verdict, p, holm), bh in zip(verdicts, every, strict=True)
        ),
        missing=tuple(_missing(run, policy, inventory)),
        complete=run.complete,
        alpha=max(record.alpha for record in records),
        m=m,
        notes=(*_notes(run, policy, inventory), *(f"compared with itself: {key}" for key in themselves)),
    )


def _against(record: Record, baselines: Baselines, policy: Policy, margin: float) -> Record:
    """The record, to be judged by whether it is worse than the baseline's."""
    own = policy.own_margin(record.claim)
    gate = record.gate
    if own is not None and gate.get("kind") == NotWorseThanBaseline.__name__:
        gate = {**gate, "limit": own}  # the one gate that brings a margin of its own
    least = policy.margin if policy.margin is not None else margin
    past: Past | None = baselines.of(record.claim, record.fingerprint)
    return record.model_copy(update={"baseline": past, "margin": own if own is not None else least, "gate": gate})


_FINER = 1.25
"""Above the size of the suite, levels are looked at in steps of this ratio: only a p-value for people hangs on them."""


def _step_down(rows: Sequence[Record], *, m: int) -> list[tuple[Verdict, float | None, float | None]]:
    """Verdict, p and Holm's p of each record, in a family of `m`.

    Holm 1979: in order of p, each is rejected while p <= alpha / (m - number already rejected). With r rejected, that is
    to judge all at alpha / (m - r + 1), which none of the others reaches.
    """
    sizes = [*range(1, m + 1), *(round(m * _FINER**step) for step in range(1, 60))]
    largest = [_largest(record, sizes) for record in rows]
    rejected = 0
    for size in sorted(largest, reverse=True):
        if size < m - rejected:
            break
        rejected += 1
    level = m - rejected + 1 if rejected else m
    ps = [record.alpha / size if size else None for record, size in zip(rows, largest, strict=True)]
    holm = _adjusted(ps, m=m, method="holm")
    return [
        (judge(record.model_copy(update={"m": level})), p, adj) for record, p, adj in zip(rows, ps, holm, strict=True)
    ]


def _largest(record: Record, sizes: Sequence[int]) -> int:
    """The largest of these suite sizes at whose level the record is still VIOLATED; 0 if at none."""
    if not violated_at(record, m=sizes[0]):
        return 0
    return sizes[bisect_right(sizes, False, lo=1, key=lambda size: not violated_at(record, m=size)) - 1]


def _adjusted(ps: Sequence[float | None], *, m: int, method: Literal["holm", "fdr_bh"]) -> list[float | None]:
    """Adjusted for `m` decisions; those that are not in hand, or have no p, count as 1."""
    padded = [1.0 if p is None else p for p in ps] + [1.0] * (m - len(ps))
    found = adjusted(padded, method=method)[: len(ps)]
    return [None if p is None else a for p, a in zip(ps, found, strict=True)]


def _missing(run: Run, policy: Policy, inventory: frozenset[str]) -> Iterable[str]:
    """Required claims without a record: those that the baseline or another model of the run has, or the pattern itself."""
    known = inventory | {record.claim for record in run.records}
    models = sorted({record.asked for record in run.records})
    for pattern in policy.required:
        wanted = sorted(claim for claim in known if fnmatchcase(claim, pattern))
        if not wanted:
            yield pattern
        for model in models:
            held = {record.claim for record in run.records if record.asked == model}
            yield from (f"{claim} @ {model}" for claim in wanted if claim not in held)


def _notes(run: Run, policy: Policy, inventory: frozenset[str]) -> Iterable[str]:
    held = {record.claim for record in run.records}
    if not run.complete and not run.notes:
        yield "the run is incomplete: some of its planned claims have no record"
    yield from run.notes
    absent = sorted(inventory - held)
    if absent:
        yield f"in the baseline and not in this run: {', '.join(absent[:10])}" + (
            f" and {len(absent) - 10} more" if len(absent) > 10 else ""
        )
    for pattern in policy.patterns:
        if not any(fnmatchcase(claim, pattern) for claim in held | inventory):
            yield f"the policy's {pattern!r} fits no claim"
    if all(policy.tier(claim) == "watch" for claim in held):
        yield "no claim of this run must hold: there is nothing for the gate to decide"


def _any(patterns: Iterable[str], claim: str) -> bool:
    return any(fnmatchcase(claim, pattern) for pattern in patterns)
