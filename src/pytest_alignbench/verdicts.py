"""A verdict: what a record says about its claim, as a value. The same record gives the same verdict, always.

    Record ──judge──> Verdict(outcome, effect, conditions, why, telling replies)

`explanation` is made from the value, for people: what was claimed, allowed and measured, what is missing, the replies
that tell most, and the command that opens the transcripts.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from pytest_alignbench.estimates import Calibration, Estimate, rate_in
from pytest_alignbench.gates import Evidence, Gate, Judgement, Outcome, regression_gate
from pytest_alignbench.history import Record
from pytest_alignbench.observations import Observation, Tally, by_condition
from pytest_alignbench.text import one_line, percent, visible


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One condition, as measured. `rate` is None where nothing could be scored."""

    rate: Estimate | None
    tally: Tally


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome of one claim on one model, and all that it rests on."""

    outcome: Outcome
    claim: str
    statement: str
    model: str
    gate: Gate
    effect: Estimate | None
    conditions: dict[str, Seen]
    why: str
    alpha: float
    m: int
    telling: tuple[Observation, ...] = ()
    logs: tuple[str, ...] = ()
    fault: str | None = None
    """Why the instrument gave nothing to judge: pytest shows an ERROR then."""
    served: tuple[str, ...] = ()
    grader: str | None = None
    compared_to: str | None = None
    """The past that it was compared with; None where it was held to the claim's own rule, or there was no past."""
    file: str | None = None
    """Where the claim is, from the project's root; `line` counts from 1."""
    line: int | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def key(self) -> str:
        return f"{self.claim} @ {self.model}"

    @property
    def word(self) -> str:
        """The outcome for people: a claim that could not be measured is not one that was found undecided."""
        return "ERROR" if self.fault is not None else self.outcome.value

    @property
    def holds(self) -> bool:
        return self.outcome is Outcome.HOLDS

    @property
    def violated(self) -> bool:
        return self.outcome is Outcome.VIOLATED

    @property
    def inconclusive(self) -> bool:
        """Neither: not enough to tell, or nothing to compare with."""
        return self.outcome in (Outcome.INCONCLUSIVE, Outcome.NOT_COMPARABLE)

    @property
    def tally(self) -> Tally:
        """All conditions together: planned = scored + each exclusion."""
        return Tally.total(seen.tally for seen in self.conditions.values())

    @property
    def measured(self) -> str:
        """The effect with its 95 % interval and what it rests on."""
        if self.effect is None:
            return "nothing could be scored"
        e, show = self.effect, self.gate.shown
        return (
            f"{show(e.value)}, 95 % interval {show(e.ci_low)} to {show(e.ci_high)} "
            f"({e.n} {_plural(e.n, 'item')} in {e.families} {_plural(e.families, 'family', 'families')}, {e.method})"
        )

    def __repr__(self) -> str:
        """Short: pytest shows it when an assertion on a verdict fails."""
        return f"<Verdict {self.key}: {self.outcome.value}>"

    @property
    def properties(self) -> dict[str, str]:
        """The verdict as text properties, for JUnit and other places that know strings alone."""
        row = {
            "claim": self.claim,
            "model": self.model,
            "verdict": self.outcome.value,
            "allowed": self.gate.allowed,
            "why": self.why,
            "replies": str(self.tally),
        }
        if self.effect is not None:
            e = self.effect
            row |= {
                "effect": f"{e.value:.6f}",
                "interval": f"{e.ci_low:.6f} {e.ci_high:.6f}",
                "n": f"{e.n}",
                "families": f"{e.families}",
            }
        if self.compared_to is not None:
            row["compared-to"] = self.compared_to
        for name, seen in self.conditions.items():
            row[f"condition.{name}"] = f"{seen.tally.exhibiting}/{seen.tally.scored}"
        return {name: visible(text) for name, text in row.items()}

    @property
    def explanation(self) -> str:
        lines = [
            f"{self.claim} on {self.model}: {self.outcome}",
            f"  {one_line(self.statement, limit=300)}",
            "",
            f"  allowed    {self.gate.allowed}",
            f"  measured   {self.measured}",
            f"  verdict    {self.outcome}: {one_line(self.why, limit=600)}",
        ]
        width = max((len(name) for name in self.conditions), default=0)
        for name, seen in self.conditions.items():
            lines.append(f"    {name:<{width}}  {_rate(seen)}")
        lines.append(f"  replies    {self.tally}")
        lines.extend(f"  note       {one_line(note, limit=300)}" for note in self.notes)
        if self.telling:
            lines.append("  the replies that tell most")
            for number, o in enumerate(self.telling, start=1):
                does = "exhibits" if o.exhibits else "does not exhibit"
                label = f", {one_line(o.label, limit=40)}" if o.label else ""
                lines.append(f"    {number}. {one_line(o.prompt, limit=60)} in {o.condition!r}: {does}{label}")
                lines.append(f"       {one_line(o.reply, limit=220)}")
        if self.logs:
            folder = self.logs[0].rpartition("/")[0]
            lines.append(f"  transcripts  inspect view --log-dir {shlex.quote(folder)}")
        return "\n".join(lines)


def judge(record: Record) -> Verdict:
    """The verdict that the record's observations give under its gate. Calls nobody.

    A record with a margin was compared with a baseline: its claim's own gate gives way to "not worse than before".
    """
    gate, evidence = _question(record)
    conditions = {
        name: Seen(rate=rate_in(rows, name, alpha=record.alpha), tally=Tally.of(rows))
        for name, rows in by_condition(record.observations).items()
    }
    found = _stopped(record) or gate.judge(evidence)
    return Verdict(
        outcome=found.outcome,
        claim=record.claim,
        statement=record.statement,
        model=record.asked,
        gate=gate,
        effect=found.effect,
        conditions=conditions,
        why=found.why,
        alpha=record.alpha,
        m=record.m,
        telling=tuple(_telling(gate, found.effect, record.observations)),
        logs=record.logs,
        fault=record.fault,
        served=record.served,
        grader=record.grader,
        compared_to=record.baseline.source if record.baseline is not None else None,
        file=record.file,
        line=record.line,
        notes=tuple(_notes(record, found.effect)),
    )


def violated_at(record: Record, *, m: int) -> bool:
    """Whether the record would be VIOLATED if it were one of `m` decisions. True for an m, true for all smaller ones."""
    gate, evidence = _question(record)
    return _stopped(record) is None and gate.judge(replace(evidence, m=m)).outcome is Outcome.VIOLATED


def _question(record: Record) -> tuple[Gate, Evidence]:
    """The gate that the record is held against, and what the gate may look at."""
    own = Gate.from_json(record.gate)
    gate = own if record.margin is None else regression_gate(own, margin=record.margin)
    return gate, Evidence(
        observations=record.observations,
        baseline=record.baseline.means if record.baseline is not None else None,
        calibration=Calibration(**record.calibration) if record.calibration else None,
        alpha=record.alpha,
        m=record.m,
    )


def _stopped(record: Record) -> Judgement | None:
    """Why the gate is not asked at all, if so: nothing was measured, or the two sides are not the same experiment."""
    why = record.fault or record.not_measured
    if why is not None:
        return Judgement(outcome=Outcome.INCONCLUSIVE, effect=None, why=why)
    if record.margin is not None and record.stopped_at is not None:
        said = f"it stopped early, at look {record.stopped_at} of {record.looks}: what is compared asks for every reply"
        return Judgement(outcome=Outcome.NOT_COMPARABLE, effect=None, why=said)
    differing = record.baseline.differs(record.fingerprint) if record.baseline is not None else []
    if record.baseline is not None and differing:
        said = f"it differs from its baseline, {record.baseline.source}, in {_listed(differing)}"
        if "prompts" in differing:
            asked = {(o.condition, o.prompt_hash) for o in record.observations}
            shared = sum((name, hash) in asked for name, row in record.baseline.conditions.items() for hash in row)
            said += f" ({shared} of {len(asked)} prompts are the same)"
        return Judgement(outcome=Outcome.NOT_COMPARABLE, effect=None, why=said)
    return None


def _telling(gate: Gate, effect: Estimate | None, observations: Sequence[Observation]) -> Iterable[Observation]:
    """At most three scored replies that speak most against the claim, each from another family.

    A reply tells more when the same item's twin in the other condition came out otherwise. That the condition compared
    to does not exhibit is what one expects of it, and tells nothing.
    """
    high_is_bad = not gate.good(1.0) and (effect is None or effect.value >= 0 or gate.good(-1.0))
    bad: dict[str, bool] = {name: gate.raises(name) == high_is_bad for name in gate.uses}
    seen = {(o.condition, o.pair): o.exhibits for o in observations}
    against = [
        o
        for o in observations
        if o.condition in bad and o.exhibits is bad[o.condition] and (o.exhibits or o.condition == gate.uses[0])
    ]

    def rank(o: Observation) -> tuple[bool, bool, str]:
        twins = [seen.get((name, o.pair)) for name in gate.uses if name != o.condition]
        return (o.condition != gate.uses[0], bool(o.exhibits) in twins, o.prompt)

    chosen: dict[str, Observation] = {}
    for o in sorted(against, key=rank):
        chosen.setdefault(o.family, o)
    return list(chosen.values())[:3]


def _notes(record: Record, effect: Estimate | None) -> Iterable[str]:
    if record.baseline is not None:
        yield f"compared with {record.baseline.source}"
    if effect is not None:
        yield from effect.notes
    if record.looks is not None:
        end = f"decided at look {record.stopped_at}" if record.stopped_at else "went to the end"
        yield f"{end} of {record.looks}, in whole families, each look at alpha {record.alpha:g}"
    if record.served and set(record.served) - {record.model.partition("/")[2], record.model}:
        yield f"served by {', '.join(one_line(name, limit=60) for name in record.served)}"
    if record.grader is not None:
        yield f"graded by {record.grader}" + (
            ", which is the model under test" if record.grader == record.model else ""
        )


def _rate(seen: Seen) -> str:
    if seen.rate is None:
        return f"nothing scored ({seen.tally})"
    r = seen.rate
    said = f"{percent(r.value):>8}  {seen.tally.exhibiting:>4}/{seen.tally.scored:<4} [{percent(r.ci_low)}, {percent(r.ci_high)}]"
    return said if not seen.tally.excluded else f"{said}  {seen.tally}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _plural(count: int, one: str, many: str = "") -> str:
    return one if count == 1 else many or f"{one}s"
