"""A bill: what calls of one model cost, in a budget's unit, and no call without the money for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, get_model_info
from inspect_ai.tool import ToolInfo

from pytest_alignbench.budgets import Budget, BudgetError, Purse
from pytest_alignbench.errors import ModelError
from pytest_alignbench.models.calls import Answered, Attempt, around, output_of

_LONGEST_REPLY = 16_384
"""Tokens that a reply is reckoned with at most where neither the claim nor Inspect says how long one may be."""


@dataclass(frozen=True)
class Bill:
    """What calls of one model cost, in a budget's unit."""

    budget: Budget
    input: float
    output: float
    longest: int = _LONGEST_REPLY
    """Tokens of the longest reply that the model gives."""

    @classmethod
    def of(cls, model: str, budget: Budget) -> Bill:
        info = get_model_info(model)
        longest = (info.output_tokens if info is not None else None) or _LONGEST_REPLY
        if budget.unit != "dollars":
            return cls(budget, 1.0, 1.0, longest)
        if model.startswith(("simulated/", "organism/")):
            return cls(budget, 0.0, 0.0)
        price = info.cost if info is not None else None
        if price is None:
            raise ModelError(
                f"model {model!r} has no price, so a budget in dollars could not be kept: tell Inspect its price in "
                "conftest.py (set_model_cost, or set_model_info for a model that Inspect does not know), or give the "
                "budget in calls or tokens"
            )
        dearest = max(price.input, price.input_cache_write, price.input_cache_read)
        return cls(budget, dearest / 1e6, price.output / 1e6, longest)

    def worst(self, input: list[ChatMessage], tools: list[ToolInfo], config: GenerateConfig) -> float:
        """A token is at least a byte of text; each message has a frame of some tokens."""
        if self.budget.unit == "calls":
            return 1.0
        asked = sum(len(message.model_dump_json(include={"content", "tool_calls"}).encode()) + 16 for message in input)
        asked += sum(len(tool.model_dump_json().encode()) for tool in tools)
        reply = (config.max_tokens or self.longest) + (config.reasoning_tokens or 0)
        return asked * self.input + reply * (config.num_choices or 1) * self.output

    def cost(self, answered: ModelOutput | Exception, worst: float) -> float:
        """What an answer was billed. Without a word about usage, the worst."""
        if self.budget.unit == "calls":
            return 1.0
        if isinstance(answered, Exception):
            return 0.0
        usage = answered.usage
        if usage is None:
            return worst
        read = usage.input_tokens + (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
        return read * self.input + max(usage.output_tokens, usage.total_tokens - read) * self.output

    def refused(self, worst: float) -> float:
        return 1.0 if self.budget.unit == "calls" else 0.0

    def least(self, worst: float) -> str:
        return f"the next call might take {self.budget.said(worst)}"


def meter(model: Model, purse: Purse) -> None:
    """From here on no call of `model`, retries and graders' calls included, is made that the purse could not pay.

    Raises ModelError when the purse holds dollars and nobody told Inspect the model's prices.
    """
    bill = Bill.of(str(model), purse.budget)

    async def metered(attempt: Attempt) -> Answered:
        worst = bill.worst(attempt.input, attempt.tools, attempt.config)
        while (taken := purse.reserve(worst)) != "taken":
            if taken == "spent":
                raise BudgetError(f"the budget of {purse.budget} is spent, or as good as: {bill.least(worst)}")
            await asyncio.sleep(0.05)
        cost = worst
        try:
            answered = await attempt.go()
            cost = bill.cost(output_of(answered), worst)
            return answered
        except Exception as fault:
            # Refused with a status, it was not billed; a call that broke off may have been.
            cost = bill.refused(worst) if getattr(fault, "status_code", None) is not None else worst
            raise
        finally:
            purse.settle(worst, cost)

    around(model, metered)
