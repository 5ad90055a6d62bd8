"""Observations, claims and records for tests: what a measurement would have given, said in a line.

observed(counted(hits=3, n=100, missing=2))      102 independent prompts of one condition
twins([(True, False), (False, None)])            pairs: (in "touchy", in "plain")
record(observations, gate=RateAtMost(0.05))      what history keeps of them
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pytest_alignbench import Claim, Gate, Prompt, Prompts, RateAtMost
from pytest_alignbench.history import Record, Run
from pytest_alignbench.observations import Exclusion, Observation

Answer = bool | None


def counted(hits: int, n: int, *, missing: int = 0) -> list[Answer]:
    """`hits` of `n` scored replies exhibit; `missing` more were excluded."""
    return [True] * hits + [False] * (n - hits) + [None] * missing


def observation(number: int, exhibits: Answer, *, condition: str = "asked", **changed: Any) -> Observation:
    """One reply to the prompt of this number: the same prompt in all conditions, and a family of its own."""
    given: dict[str, Any] = {
        "prompt": f"p{number}",
        "prompt_hash": f"hash of p{number}",
        "condition": condition,
        "family": f"f{number}",
        "pair": f"p{number}",
        "exhibits": exhibits,
        "exclusion": Exclusion.TRUNCATED if exhibits is None else None,
    }
    return Observation(**given | changed)


def observed(answers: Iterable[Answer], *, condition: str = "asked", **changed: Any) -> list[Observation]:
    """A reply to each of so many independent prompts."""
    return [observation(i, answer, condition=condition, **changed) for i, answer in enumerate(answers)]


def twins(answers: Sequence[tuple[Answer, Answer]], *, of: str = "touchy", over: str = "plain") -> list[Observation]:
    """Each item in two conditions."""
    return observed([a for a, _ in answers], condition=of) + observed([b for _, b in answers], condition=over)


def asking(n: int, *, per_family: int = 1, start: int = 0) -> Prompts:
    """`n` prompts, in families of `per_family`."""
    rows = (
        Prompt(id=f"p{i}", input=f"Question {i}?", family=f"f{i // per_family}", pair=f"p{i}")
        for i in range(start, start + n)
    )
    return Prompts(rows, source=f"{n} questions")


def claim(**changed: Any) -> Claim:
    """A claim that is in order, with what differs in `changed`."""
    given: dict[str, Any] = {
        "id": "tests.example",
        "statement": "It does not shout",
        "conditions": {"asked": asking(100)},
        "scorer": object(),  # claims pass scorers through; those who run one build it
        "gate": RateAtMost(0.05),
    }
    return Claim(**given | changed)


def record(observations: Iterable[Observation], *, gate: Gate, **changed: Any) -> Record:
    given: dict[str, Any] = {
        "claim": "tests.example",
        "statement": "It does not shout",
        "asked": "small",
        "model": "local/small",
        "gate": gate.to_json(),
        "alpha": 0.05,
        "m": 1,
        "fingerprint": {"prompts": "0123456789abcdef"},
        "observations": tuple(observations),
    }
    return Record(**given | changed)


def run(id: str, *records: Record) -> Run:
    return Run(id=id, started="2026-01-31T14:25:30+00:00", records=records)
