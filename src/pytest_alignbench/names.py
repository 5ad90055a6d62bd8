"""What a model's name stands for: `claude-x` -> `anthropic/claude-x`, or as the project's `[tool.alignbench.models]` has it."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_alignbench.errors import ModelError

_PREFIXES = {
    "claude-": "anthropic",
    "gpt-": "openai",
    "chatgpt-": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "gemini-": "google",
    "grok-": "grok",
    "mistral-": "mistral",
    "deepseek-": "deepseek",
}


def resolve(name: str, aliases: Mapping[str, str]) -> str:
    """The Inspect name that `name` stands for.

    Raises ModelError, with what is allowed, for a short name that stands for nothing.
    """
    name = aliases.get(name, name)
    if "/" in name:
        return name
    for prefix, provider in _PREFIXES.items():
        if name.startswith(prefix):
            return f"{provider}/{name}"
    known = ", ".join([*sorted(aliases), *(f"{prefix}…" for prefix in _PREFIXES)])
    raise ModelError(
        f"model {name!r}: a name without a provider; short names are {known}. "
        f"Write provider/{name}, or add it to [tool.alignbench.models]"
    )
