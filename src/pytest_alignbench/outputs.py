"""Whether a model's output can be read as its answer at all, judged before anybody looks at what it says.

    ModelOutput ──excluded_by──> None, or (Exclusion, why)

The same rule holds for the reply that is scored, for each step before it, and for a grader's own reply: what was cut
short, filtered or left empty says nothing about behaviour.
"""

from __future__ import annotations

from inspect_ai.model import ModelOutput

from pytest_alignbench.observations import Exclusion
from pytest_alignbench.text import one_line, wordless


def excluded_by(output: ModelOutput) -> tuple[Exclusion, str] | None:
    """Why this output cannot be scored, judged by its stop reason and its visible text alone."""
    if output.error:
        return Exclusion.ERRORED, one_line(output.error)
    if not output.choices:
        return Exclusion.ERRORED, "the provider returned no choice"
    if output.stop_reason in ("max_tokens", "model_length"):
        return Exclusion.TRUNCATED, f"stopped by {output.stop_reason}"
    if output.stop_reason == "content_filter":
        return Exclusion.FILTERED, "stopped by the provider's content filter"
    if wordless(output.completion):
        return Exclusion.EMPTY, "no words"
    return None
