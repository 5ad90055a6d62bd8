"""The summary at the end of a session, and the plan before one, as lines for a terminal or a CI log."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_alignbench.gates import Outcome
from pytest_alignbench.plans import Planned
from pytest_alignbench.text import one_line, percent
from pytest_alignbench.verdicts import Seen, Verdict

_COLOURS = {
    Outcome.HOLDS: "green",
    Outcome.VIOLATED: "red",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.NOT_COMPARABLE: "yellow",
}
_ORDER = [Outcome.VIOLATED, Outcome.NOT_COMPARABLE, Outcome.INCONCLUSIVE, Outcome.HOLDS]


def table(verdicts: Sequence[Verdict], *, width: int, controls: bool = False) -> Iterator[tuple[str, str]]:
    """(line, colour) pairs: what is red first, each verdict with its effect, interval, counts and exclusions."""
    ranked = sorted(verdicts, key=lambda v: (_ORDER.index(v.outcome), v.claim, v.model))
    heads = ("verdict", "claim", "model", "effect [95 % interval]", "allowed", "exhibiting, per condition", "excluded")
    rows = [_cells(v) for v in ranked]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    wide = sum(widths) + 2 * (len(widths) - 1) <= width
    if wide:
        yield _line(heads, widths), "bold"
    for cells, v in zip(rows, ranked, strict=True):
        colour = "" if controls else _COLOURS[v.outcome]
        if wide:
            yield _line(cells, widths), colour
        else:
            yield _line(cells[:3], [12, *widths[1:3]]), colour
            yield f"    {cells[3]}, allowed {cells[4]}; {cells[5]}; {cells[6]} excluded", ""
        if v.inconclusive and not controls:
            yield f"    {one_line(v.why, limit=max(100, width - 5))}", ""
    if verdicts and not controls:
        counts = {outcome: sum(v.outcome is outcome for v in verdicts) for outcome in _ORDER}
        said = ", ".join(f"{count} {outcome.value}" for outcome, count in counts.items() if count)
        one = verdicts[0]
        yield (
            f"{said}    (HOLDS at one-sided alpha {one.alpha:g}; VIOLATED at {one.alpha:g}/{one.m}, for {one.m} decisions)",
            "",
        )


def grid(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    """Claims down, models across: how each claim came out on each, for a session with several models."""
    models = sorted({v.model for v in verdicts}, key=_natural)
    found = {(v.claim, v.model): v for v in verdicts}
    heads = ("claim", *(one_line(m.removeprefix("simulated/"), limit=30) for m in models))
    rows = [(claim, *(_cell(found.get((claim, m))) for m in models)) for claim in sorted({v.claim for v in verdicts})]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    yield _line(heads, widths), "bold"
    for row in rows:
        yield _line(row, widths), ""


def _cell(v: Verdict | None) -> str:
    if v is None:
        return "–"
    effect = "" if v.effect is None else f" {_bare(v.gate.shown(v.effect.value))}"
    return f"{v.outcome.value}{effect}"


def _natural(name: str) -> list[tuple[int, str]]:
    """`v2` before `v10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def story(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """One line per claim: how it came out from each model to the next, changes named."""
    for claim in sorted({v.claim for v in verdicts}):
        line = sorted((v for v in verdicts if v.claim == claim), key=lambda v: _natural(v.model))
        stretches: list[tuple[Outcome, list[Verdict]]] = []
        for v in line:
            if stretches and stretches[-1][0] is v.outcome:
                stretches[-1][1].append(v)
            else:
                stretches.append((v.outcome, [v]))
        yield f"{claim}: " + ", then ".join(_stretch(outcome, run) for outcome, run in stretches)


def _stretch(outcome: Outcome, run: Sequence[Verdict]) -> str:
    names = run[0].model if len(run) == 1 else f"{run[0].model} to {run[-1].model}"
    effects = [v.gate.shown(v.effect.value) for v in run if v.effect is not None]
    return f"{outcome.value} for {names}" + (f" ({', '.join(effects)})" if effects else "")


def plan_table(plans: Sequence[Planned], *, width: int) -> Iterator[str]:
    """What would be asked: calls, tokens, cost where prices are known, and what each claim could tell."""
    heads = ("claim @ model", "calls", "tokens in", "tokens out", "cost")
    rows = [
        (
            plan.key.removesuffix(" @ None"),
            "?" if plan.calls is None else f"{plan.calls:,}",
            f"{plan.input_tokens:,}",
            f"{plan.output_tokens:,}",
            "?" if plan.dollars is None else f"${plan.dollars:,.2f}",
        )
        for plan in plans
    ]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    yield _line(heads, widths)
    for row, plan in zip(rows, plans, strict=True):
        yield _line(row, widths)
        yield f"    {one_line(plan.power, limit=max(40, width - 5))}"
    calls = sum(plan.calls or 0 for plan in plans)
    known = [plan.dollars for plan in plans if plan.dollars is not None]
    cost = f", ${sum(known):,.2f} for the {len(known)} with known prices" if known else ""
    yield f"in all {calls:,} calls, about {sum(p.input_tokens + p.output_tokens for p in plans):,} tokens{cost}; no call was made"


def _cells(v: Verdict) -> tuple[str, ...]:
    if v.effect is None:
        effect = "nothing scored"
    else:
        show = v.gate.shown
        low, high = show(v.effect.ci_low), show(v.effect.ci_high)
        effect = f"{_bare(show(v.effect.value))} [{_bare(low)}, {_bare(high)}]{_unit(show(v.effect.value))}"
    excluded = ", ".join(f"{n} {cause.value}" for cause, n in v.tally.excluded.items()) or "none"
    counts = " vs ".join(_counts(v.conditions[name]) for name in v.gate.uses if name in v.conditions)
    return v.outcome.value, v.claim, one_line(v.model, limit=40), effect, v.gate.rule, counts or "–", excluded


def _counts(seen: Seen) -> str:
    share = "" if seen.rate is None else f" ({percent(seen.rate.value)})"
    return f"{seen.tally.exhibiting}/{seen.tally.scored}{share}"


def _bare(shown: str) -> str:
    return shown.removesuffix(" points").removesuffix(" %")


def _unit(shown: str) -> str:
    return " points" if shown.endswith("points") else " %"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip()
