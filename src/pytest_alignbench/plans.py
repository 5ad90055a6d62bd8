"""What a case will ask for, said before a cent is spent."""

from __future__ import annotations

from dataclasses import dataclass


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
