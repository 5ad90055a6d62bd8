"""What is said, apart from how it is written: a page is a title, sentences and one table, the same for every format.

    run, gate's decision, comparison, plan ──of_…──> Page ──FORMATS["text" | "json" | "markdown"]──> str

A page decides nothing and cleans nothing: each format makes the strings safe for the place where it puts them. What a
machine reads is `shape`, with numbers and not with their digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from pytest_alignbench.comparisons import Change, Comparison
from pytest_alignbench.estimates import Estimate, Relative
from pytest_alignbench.gates import Outcome
from pytest_alignbench.history import Run
from pytest_alignbench.plans import Planned
from pytest_alignbench.policies import Decided, Decision
from pytest_alignbench.reports.shapes import ComparisonShape, DecidedShape, PlanShape, RunShape
from pytest_alignbench.text import percent, points
from pytest_alignbench.verdicts import Seen, Verdict

_TONES = {
    Outcome.HOLDS: "green",
    Outcome.VIOLATED: "red",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.NOT_COMPARABLE: "yellow",
}
_ORDER = [Outcome.VIOLATED, Outcome.NOT_COMPARABLE, Outcome.INCONCLUSIVE, Outcome.HOLDS]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table. `name` says which, where the row is spoken of elsewhere."""

    name: str
    cells: tuple[str, ...]
    below: tuple[str, ...] = ()
    """Sentences that explain it."""
    tone: str = ""
    """`green`, `yellow`, `red`, or none."""


@dataclass(frozen=True, kw_only=True)
class Page:
    title: str
    lead: tuple[str, ...] = ()
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    first: int = 3
    """Columns that stay together where a whole row does not fit."""
    closing: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    """Texts of several lines, as they stand."""
    tone: str = ""
    shape: BaseModel


# -- a run


VERDICT_HEADS = (
    "verdict",
    "claim",
    "model",
    "effect [95 % interval]",
    "allowed",
    "exhibiting, per condition",
    "excluded",
)


def of_run(run: Run, verdicts: Sequence[Verdict], *, title: str = "", full: bool = False) -> Page:
    """A run's verdicts, what is red first; `full` adds the whole explanation of each."""
    state = "" if run.complete else ", incomplete: some planned claims have no record"
    return Page(
        title=title or f"run {run.id}",
        lead=(f"started {run.started}{state}", *run.notes),
        heads=VERDICT_HEADS,
        rows=tuple(verdict_rows(verdicts)),
        closing=tuple(counted(verdicts)),
        full=tuple(v.explanation for v in verdicts) if full else (),
        shape=RunShape.of(run, verdicts),
    )


def ranked(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """What is red first."""
    return sorted(verdicts, key=lambda v: (_ORDER.index(v.outcome), v.claim, v.model))


def verdict_rows(verdicts: Sequence[Verdict]) -> Sequence[Row]:
    return [
        Row(
            name=v.key,
            cells=_verdict_cells(v),
            below=(v.why,) if v.inconclusive else (),
            tone=_TONES[v.outcome],
        )
        for v in ranked(verdicts)
    ]


def counted(verdicts: Sequence[Verdict]) -> Sequence[str]:
    """How many came out how, and at what levels."""
    if not verdicts:
        return []
    one = verdicts[0]
    return [
        f"{_counts_of(verdicts)}    (HOLDS at one-sided alpha {one.alpha:g}; VIOLATED at {one.alpha:g}/{one.m}, for {one.m} decisions)"
    ]


def _counts_of(verdicts: Sequence[Verdict]) -> str:
    counts = Counter(v.word for v in sorted(verdicts, key=lambda v: _ORDER.index(v.outcome)))
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def _verdict_cells(v: Verdict) -> tuple[str, ...]:
    excluded = ", ".join(f"{n} {cause.value}" for cause, n in v.tally.excluded.items()) or "none"
    counts = " vs ".join(_counts(v.conditions[name]) for name in v.gate.uses if name in v.conditions)
    return v.word, v.claim, v.model, brief(v), v.gate.rule, counts or "–", excluded


def brief(v: Verdict) -> str:
    """The effect with its 95 % interval, as short as a table needs it."""
    e, show = v.effect, v.gate.shown
    if e is None:
        return "–" if v.tally.scored else "nothing scored"
    return f"{bare(show(e.value))} [{bare(show(e.ci_low))}, {bare(show(e.ci_high))}]{_unit(show(e.value))}"


def _counts(seen: Seen) -> str:
    share = "" if seen.rate is None else f" ({percent(seen.rate.value)})"
    return f"{seen.tally.exhibiting}/{seen.tally.scored}{share}"


def bare(shown: str) -> str:
    """The number without its unit."""
    return shown.removesuffix(" points").removesuffix(" %")


def _unit(shown: str) -> str:
    return " points" if shown.endswith("points") else " %"


# -- a gate


_CONSEQUENCES = {"fail": "fails", "warn": "warns", "pass": "passes"}


def worst_first(decisions: Sequence[Decision]) -> list[Decision]:
    """What fails the gate first, and of that what is least likely to be chance."""
    return sorted(
        decisions,
        key=lambda d: (
            list(_CONSEQUENCES).index(d.consequence),
            _ORDER.index(d.verdict.outcome),
            d.p if d.p is not None else 1.0,
            d.verdict.key,
        ),
    )


def of_gate(decided: Decided) -> Page:
    """Every claim with why, what fails the gate first."""
    against = f" against {decided.baseline}" if decided.baseline is not None else ""
    said = [f"{decided.outcome.value}, exit code {decided.exit_code}"]
    for tier, which in (("must-hold", "must hold"), ("watch", "watched")):
        verdicts = [d.verdict for d in decided.decisions if d.tier == tier]
        if verdicts:
            said.append(f"{which}: {_counts_of(verdicts)}")
    lead = ["; ".join(said)]
    lead += [f"required, and not in this run: {name}" for name in decided.missing]
    lead += decided.notes if not decided.complete else ()
    return Page(
        title=f"gate on run {decided.run}{against}",
        lead=tuple(lead),
        heads=("verdict", "claim", "model", "tier", "gate", "effect [95 % interval]", "allowed", "p", "Holm", "BH"),
        rows=tuple(_decision_row(d) for d in worst_first(decided.decisions)),
        closing=(
            f"HOLDS is decided for each claim at one-sided alpha {decided.alpha:g}. VIOLATED is decided by Holm's step-down "
            f"over {decided.m} decisions that must hold: a red gate is chance in at most {percent(decided.alpha)} of runs. "
            "BH (Benjamini-Hochberg) is for triage and decides nothing.",
            *(decided.notes if decided.complete else ()),
        ),
        tone=_TONES[decided.outcome],
        shape=DecidedShape.of(decided),
    )


def _decision_row(d: Decision) -> Row:
    v = d.verdict
    p = p_value(d.p) if d.p is not None or v.effect is None else f"> {v.alpha:g}"
    cells = (
        v.outcome.value,
        v.claim,
        v.model,
        d.tier,
        _CONSEQUENCES[d.consequence],
        brief(v),
        v.gate.rule,
    )
    return Row(name=v.key, cells=(*cells, p, p_value(d.holm), p_value(d.bh)), below=(v.why,), tone=_TONES[v.outcome])


def p_value(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


# -- a comparison


def of_comparison(found: Comparison) -> Page:
    """Absolute and relative change of each claim, the least p-value first."""
    ranked = sorted(found.changes, key=lambda c: (c.not_comparable is None, _least_first(c), c.claim, c.after.model))
    closing = [
        "p: two-sided, that there is no change; exact for independent prompts asked once. Holm and BH: adjusted for all "
        f"{sum(c.holm is not None for c in found.changes)} claims. For exploring: nothing is decided here "
        "(`alignbench gate` decides), and two sides are a change, never a trend."
    ]
    closing += [f"without a measured record in {found.after}: {claim}" for claim in found.only_before]
    closing += [f"without a measured record in {found.before}: {claim}" for claim in found.only_after]
    return Page(
        title=f"change from {found.before} to {found.after}",
        heads=(
            "claim",
            "model",
            "before",
            "after",
            "change [95 % interval]",
            "ratio of rates",
            "p",
            "Holm",
            "BH",
            "shared prompts",
        ),
        rows=tuple(_change_row(c) for c in ranked),
        first=2,
        closing=tuple(closing),
        shape=ComparisonShape.of(found),
    )


def _least_first(c: Change) -> float:
    return c.change.p_value if c.change is not None and c.change.p_value is not None else 1.0


def _change_row(c: Change) -> Row:
    models = c.after.model if c.before.model == c.after.model else f"{c.before.model} -> {c.after.model}"
    shared = f"{c.shared} of {c.after.prompts}"
    name = f"{c.claim} @ {models}"
    if c.change is None:
        cells = (c.claim, models, *["NOT_COMPARABLE", "–", "–", "–", "–", "–", "–"], shared)
        return Row(name=name, cells=cells, below=(c.not_comparable or "",), tone=_TONES[Outcome.NOT_COMPARABLE])
    e = c.change
    change = f"{bare(points(e.value))} [{bare(points(e.ci_low))}, {bare(points(e.ci_high))}] points"
    levels = [_level(side.effect, difference=bool(c.over)) for side in (c.before, c.after)]
    cells = (
        c.claim,
        models,
        *levels,
        change,
        ratio(c.ratio),
        p_value(e.p_value),
        p_value(c.holm),
        p_value(c.bh),
        shared,
    )
    return Row(name=name, cells=cells, below=e.notes)


def _level(effect: Estimate | None, *, difference: bool) -> str:
    if effect is None:
        return "–"
    return points(effect.value) if difference else percent(effect.value)


def ratio(ratio: Relative | None) -> str:
    if ratio is None or ratio.value is None:
        return "–"
    if ratio.ci_low is None and ratio.ci_high is None:
        return f"x {ratio.value:.2f}"
    high = "∞" if ratio.ci_high is None else f"{ratio.ci_high:.2f}"
    return f"x {ratio.value:.2f} [{ratio.ci_low or 0:.2f}, {high}]"


# -- a plan


def of_plan(plans: Sequence[Planned]) -> Page:
    """What would be asked: calls, tokens, cost where prices are known, and what each claim could tell."""
    calls, graded = sum(plan.calls or 0 for plan in plans), sum(plan.grader_calls or 0 for plan in plans)
    also = f" and {graded:,} to the grader" if graded else ""
    known = [plan.dollars for plan in plans if plan.dollars is not None]
    cost = f", ${sum(known):,.2f} for the {len(known)} with known prices" if known else ""
    tokens = sum(plan.input_tokens + plan.output_tokens for plan in plans)
    return Page(
        title="plan",
        heads=("claim @ model", "calls", "grader calls", "tokens in", "tokens out", "cost"),
        rows=tuple(_plan_row(plan) for plan in plans),
        first=1,
        closing=(f"in all {calls:,} calls{also}, about {tokens:,} tokens{cost}; no call was made",),
        shape=PlanShape.of(plans),
    )


def _plan_row(plan: Planned) -> Row:
    name = plan.key.removesuffix(" @ None")
    cells = (
        name,
        "?" if plan.calls is None else f"{plan.calls:,}",
        "?" if plan.grader_calls is None else f"{plan.grader_calls:,}",
        f"{plan.input_tokens:,}",
        f"{plan.output_tokens:,}",
        "?" if plan.dollars is None else f"${plan.dollars:,.2f}",
    )
    return Row(name=name, cells=cells, below=(plan.power,))
