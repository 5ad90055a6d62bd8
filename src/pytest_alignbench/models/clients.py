"""A client: the Inspect model of a name, ready to be asked by a session."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from inspect_ai.model import Model, get_model

from pytest_alignbench import organisms
from pytest_alignbench.errors import ModelError
from pytest_alignbench.models.calls import Asked, bind_retries, guard
from pytest_alignbench.models.plays import count_calls
from pytest_alignbench.models.truths import check_simulated
from pytest_alignbench.text import one_line

_OWN_RETRIES = ("anthropic", "openai", "openai-api")
"""Providers whose client retries too, and takes `max_retries=0` not to: the two would multiply (3 x 3 calls for one)."""


def usable(name: str) -> Model:
    """The Inspect model of a resolved name, set up so that Inspect's retries are the only ones.

    Raises ModelError, one line, when there is no such provider, no key, or a package is missing.
    """
    provider, _, kind = name.partition("/")
    if provider == "simulated":
        check_simulated(kind)
    elif provider == "organism":
        organisms.check(kind)
    own: dict[str, Any] = {"max_retries": 0} if provider in _OWN_RETRIES else {}
    try:
        with _quiet():
            found = get_model(name, memoize=False, **own)
    except Exception as fault:
        said = re.sub(r"\[/?[a-z]+\]", "", str(fault)).removeprefix("ERROR: ")  # Inspect marks them up for the terminal
        raise ModelError(f"model {name!r} cannot be used: {one_line(said, limit=300)}") from fault
    model = Asked(found.api, found.config, found.model_args)
    bind_retries(model)
    if provider != "simulated":
        guard(model)
    count_calls(model)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """The first look-up imports every package that offers something to Inspect, whoever wrote it, and many warn."""
    if threading.current_thread() is not threading.main_thread():
        yield  # filters are the whole process's, and pytest changes them around each test
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
