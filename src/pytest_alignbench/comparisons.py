"""What changed from A to B: every claim that both sides have, with its change, absolute and relative, and its p-value.

    A ──find──> Record ─┐ same experiment?    prompts by hash, those of both sides
                        ├────────────────────> change B - A · ratio B / A · p ──all in──> Holm, Benjamini-Hochberg
    B ───────> Record ──┘ else NOT_COMPARABLE, with what differs

For exploring: nothing is decided here, and two sides make a change, never a trend.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from pytest_alignbench.baselines import Baselines
from pytest_alignbench.estimates import Calibration, Estimate, Relative, adjusted, difference_between, rate_in, relative
from pytest_alignbench.gates import Evidence, Gate, NotWorseThanBaseline
from pytest_alignbench.history import History, Past, Record


@dataclass(frozen=True, kw_only=True)
class Side:
    """One claim on one side of a comparison. Estimates are on the prompts that both sides scored."""

    model: str
    """As it was typed."""
    run: str
    prompts: int
    """That were scored, in the conditions that the effect is made of."""
    effect: Estimate | None = None
    rates: dict[str, Estimate] = field(default_factory=dict)
    """By condition."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of one claim. Where `not_comparable` says why, there are no numbers."""

    claim: str
    of: str
    over: str
    """The effect is the rate in condition `of`, or its difference to that in `over` where this is not empty."""
    before: Side
    after: Side
    shared: int
    """Prompts that both sides scored."""
    not_comparable: str | None = None
    change: Estimate | None = None
    """Of the effect, after minus before; its p-value is two-sided."""
    ratio: Relative | None = None
    """Of the rates in `of`, after over before."""
    holm: float | None = None
    bh: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    before: str
    after: str
    changes: tuple[Change, ...]
    only_before: tuple[str, ...]
    """Claims of which the other side has no measured record."""
    only_after: tuple[str, ...]


def compare(before: str, after: str, history: History) -> Comparison:
    """Each of the two is a run, a model or a baseline file, as for `--baseline`.

    A model stands for its latest record of each claim; before, for the latest that is comparable and is not the same.
    Where both are runs of several models, each model is compared with itself.

    Raises HistoryError where one is none of these, or it is not clear which of its models is meant.
    """
    changes: list[Change] = []
    only_after: set[str] = set()
    inventory: set[str] = set()
    held: set[str] = set()
    first: dict[str, Baselines] = {}
    for run, record in Baselines(after, history, like="*").latest():
        past = first.get(record.asked)
        if past is None:
            besides = (run, record.asked)
            past = first[record.asked] = Baselines(before, history, like=record.asked, besides=besides)
            inventory |= past.claims
        held.add(record.claim)
        found = past.find(record.claim, record.fingerprint)
        if found is None:
            only_after.add(record.claim)
        else:
            changes.append(_change(found, (run, record)))
    return Comparison(
        before=before,
        after=after,
        changes=tuple(_adjusted(changes)),
        only_before=tuple(sorted(inventory - held)),
        only_after=tuple(sorted(only_after)),
    )


def _change(before: tuple[str, Record], after: tuple[str, Record]) -> Change:
    (old_run, old), (new_run, new) = before, after
    uses = Gate.from_json(new.gate).uses
    of, over = uses[0], uses[1] if len(uses) > 1 else ""
    scored = [_scored(record, uses) for record in (old, new)]
    shared = scored[0] & scored[1]
    past = Past.of(old, run=old_run)
    differing = past.differs(new.fingerprint)
    why: str | None = None
    if new.fault is not None or new.not_measured is not None:
        why = f"not measured: {new.fault or new.not_measured}"
    elif differing:
        why = f"they differ in {', '.join(differing)}"
    elif old.stopped_at is not None or new.stopped_at is not None:
        why = "one stopped early: what is compared asks for every reply"
    elif not shared:
        why = "they share no scored prompt"
    sides = [
        Side(model=r.asked, run=run, prompts=len(s))
        for r, run, s in zip((old, new), (old_run, new_run), scored, strict=True)
    ]
    found = Change(
        claim=new.claim, of=of, over=over, before=sides[0], after=sides[1], shared=len(shared), not_comparable=why
    )
    return found if why is not None else _measured(found, old, new, past, shared)


def _measured(found: Change, old: Record, new: Record, past: Past, shared: set[tuple[str, str]]) -> Change:
    calibration = Calibration(**new.calibration) if new.calibration else None
    uses = [name for name in (found.of, found.over) if name]

    def filled(side: Side, record: Record) -> Side:
        rows = [o for o in record.observations if (o.condition, o.prompt_hash) in shared]
        rates = {name: rate_in(rows, name, calibration=calibration) for name in uses}
        effect = rates[found.of]
        if found.over:
            effect = difference_between(rows, of=found.of, over=found.over, calibration=calibration)
        return replace(side, effect=effect, rates={name: rate for name, rate in rates.items() if rate is not None})

    before, after = filled(found.before, old), filled(found.after, new)
    ratio: Relative | None = None
    if found.of in before.rates and found.of in after.rates:
        ratio = relative(after.rates[found.of], before.rates[found.of])
        if calibration is not None:
            # its interval is that of counted replies, and knows nothing of what the grader's own errors add
            ratio = replace(ratio, ci_low=None, ci_high=None, method="ratio of corrected rates: no interval")
    probe = NotWorseThanBaseline(0.0, of=found.of, over=found.over, worse="either")
    evidence = Evidence(observations=new.observations, baseline=past.means, calibration=calibration)
    change = probe.effect(evidence, alpha=evidence.alpha)
    why = "no item was scored in all conditions on both sides" if change is None else None
    return replace(found, before=before, after=after, ratio=ratio, change=change, not_comparable=why)


def _scored(record: Record, uses: Sequence[str]) -> set[tuple[str, str]]:
    return {(o.condition, o.prompt_hash) for o in record.observations if o.exhibits is not None and o.condition in uses}


def _adjusted(changes: Sequence[Change]) -> Iterable[Change]:
    """All p-values are in: adjusted for as many claims as have one."""
    ps = [c.change.p_value for c in changes if c.change is not None and c.change.p_value is not None]
    holm, bh = iter(adjusted(ps, method="holm")), iter(adjusted(ps, method="fdr_bh"))
    for c in changes:
        tested = c.change is not None and c.change.p_value is not None
        yield replace(c, holm=next(holm), bh=next(bh)) if tested else c
