"""What a case will ask for, said before a cent is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_alignbench.budgets import Budget, Unit


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What one case will ask for."""

    key: str
    calls: int | None
    """To the model under test; None where an Inspect task's size is not known before it is loaded."""
    grader_calls: int | None
    """To the grader: one for each reply, and one for each labelled reply that it is calibrated on."""
    input_tokens: int
    output_tokens: int
    dollars: float | None
    """Where Inspect knows the model's prices."""
    power: str


def reach(budget: Budget, plans: Sequence[Planned]) -> str:
    """How far a budget goes, in the order in which the cases are asked for."""
    spent, reached = 0.0, 0
    for plan in plans:
        cost = _cost(plan, budget.unit)
        if cost is None or spent + cost > budget.amount:
            break
        spent, reached = spent + cost, reached + 1
    if reached == len(plans):
        return f"the budget of {budget} is enough for what is planned, about {budget.said(spent)}"
    first = plans[reached].key.removesuffix(" @ None")
    unknown = "whose size is not known before, " if _cost(plans[reached], budget.unit) is None else ""
    return (
        f"the budget of {budget} reaches {reached} of {len(plans)} claims for sure; from {first} on, {unknown}"
        "what it does not reach will be INCONCLUSIVE"
    )


def _cost(plan: Planned, unit: Unit) -> float | None:
    if plan.calls is None or plan.grader_calls is None:
        return None
    if unit == "dollars":
        return plan.dollars
    return plan.calls + plan.grader_calls if unit == "calls" else plan.input_tokens + plan.output_tokens
