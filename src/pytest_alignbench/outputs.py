"""Whether a model's output can be read as its answer at all, judged before anybody looks at what it says.

    ModelOutput ──excluded_by─────────> None, or (Exclusion, why)
    EvalSample  ──excluded_by_sample──> the same, of an agent who may have acted without a word

The same rule holds for the reply that is scored, for each step before it, and for a grader's own reply: what was cut
short, filtered or left empty says nothing about behaviour.
"""

from __future__ import annotations

from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessageAssistant, ModelOutput

from pytest_alignbench.observations import Exclusion
from pytest_alignbench.text import one_line, wordless

KEPT = 20_000
"""Characters of a reply, and of what a scorer says of it, that a record keeps; Inspect's log has the rest."""


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


def excluded_by_sample(sample: EvalSample) -> tuple[Exclusion, str] | None:
    """The same of somebody else's task: an agent may say nothing and act, and what its tools did is what it is scored by."""
    unfit = excluded_by(sample.output)
    acted = any(isinstance(m, ChatMessageAssistant) and m.tool_calls for m in sample.messages)
    return None if unfit is not None and unfit[0] is Exclusion.EMPTY and acted else unfit
