"""Claims about how language models behave, as parametrized pytest cases with verdicts that are honest about noise.

Names are loaded at first use: this package is imported in every pytest session of every project that has it installed,
and SciPy, Inspect and pandas cost a second that only sessions with claims should pay.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_alignbench.claims import Claim, Condition, InspectTask, inspect_task
    from pytest_alignbench.data import LabelledReply, Prompt, Prompts, hub_prompts, prompts, replies
    from pytest_alignbench.errors import AlignbenchError, ClaimError, HistoryError, MeasurementError, ModelError
    from pytest_alignbench.gates import (
        DifferenceAtLeast,
        DifferenceAtMost,
        Gate,
        NotWorseThanBaseline,
        Outcome,
        RateAtLeast,
        RateAtMost,
        WithinMargin,
    )
    from pytest_alignbench.verdicts import Verdict

__all__ = [
    "AlignbenchError",
    "Claim",
    "ClaimError",
    "Condition",
    "DifferenceAtLeast",
    "DifferenceAtMost",
    "Gate",
    "HistoryError",
    "InspectTask",
    "LabelledReply",
    "MeasurementError",
    "ModelError",
    "NotWorseThanBaseline",
    "Outcome",
    "Prompt",
    "Prompts",
    "RateAtLeast",
    "RateAtMost",
    "Verdict",
    "WithinMargin",
    "hub_prompts",
    "inspect_task",
    "prompts",
    "replies",
]

_HOME = {
    "claims": ("Claim", "Condition", "InspectTask", "inspect_task"),
    "data": ("LabelledReply", "Prompt", "Prompts", "hub_prompts", "prompts", "replies"),
    "errors": ("AlignbenchError", "ClaimError", "HistoryError", "MeasurementError", "ModelError"),
    "gates": (
        "DifferenceAtLeast",
        "DifferenceAtMost",
        "Gate",
        "NotWorseThanBaseline",
        "Outcome",
        "RateAtLeast",
        "RateAtMost",
        "WithinMargin",
    ),
    "verdicts": ("Verdict",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
