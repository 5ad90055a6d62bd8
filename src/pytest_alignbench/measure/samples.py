"""Prompts as Inspect's samples and messages, with the mark that says where each belongs."""

from __future__ import annotations

from typing import Any

from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

from pytest_alignbench.data import Prompt

MARK = "alignbench"
"""The key in a sample's metadata under which the engine keeps where the sample belongs."""

_KINDS = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


def sample_id(condition: str, prompt: str) -> str:
    """Unique in a claim: a slash within the condition's name is no separator."""
    return f"{condition.replace('%', '%25').replace('/', '%2F')}/{prompt}"


def messages(prompt: Prompt) -> list[ChatMessage]:
    """What the model is asked, the system prompt first."""
    system: list[ChatMessage] = [] if prompt.system is None else [ChatMessageSystem(content=prompt.system)]
    if isinstance(prompt.input, str):
        return [*system, ChatMessageUser(content=prompt.input)]
    return [*system, *(_KINDS[turn.role](content=turn.content) for turn in prompt.input)]


def metadata(condition: str, prompt: Prompt) -> dict[str, Any]:
    place = {
        "condition": condition,
        "prompt": prompt.id,
        "pair": prompt.pair,
        "family": prompt.family,
        "hash": prompt.hash,
    }
    return {**prompt.metadata, MARK: place}


def inspect_sample(condition: str, prompt: Prompt) -> Sample:
    bare = isinstance(prompt.input, str) and prompt.system is None
    return Sample(
        id=sample_id(condition, prompt.id),
        input=str(prompt.input) if bare else messages(prompt),
        target=prompt.target,
        metadata=metadata(condition, prompt),
    )
