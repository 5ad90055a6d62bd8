"""The three suites for organisms: the same claims, with a reader of words in place of each grader.

    pytest benchmarks/organisms/suite.py --model organism/refusal-0 --model organism/refusal-5

`feedback.would-fix` is left out: whether acting on a remark would mend a prompt cannot be read from its words.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.organisms.readers import reading
from pytest_alignbench import Claim, Verdict

READERS = {
    "refusals.lie": "inability",
    "refusals.evade": "evades",
    "refusals.oppose": "opposes",
    "tics.audience-aside.graded": "defines",
}
LEFT_OUT = ("feedback.would-fix",)


def _claims() -> Iterator[Claim]:
    for file in sorted(Path(__file__).parents[2].glob("suites/test_*.py")):
        for claim in runpy.run_path(str(file))["CLAIMS"]:
            seeded = {"config": {"seed": 1}}
            if claim.id in READERS:
                reader = reading(READERS[claim.id])
                yield replace(claim, id=f"{claim.id}.read", scorer=reader, replies=(), **seeded)
            elif claim.id not in LEFT_OUT:
                yield replace(claim, **seeded)


@pytest.mark.parametrize("claim", list(_claims()))
def test_organisms(claim: Claim, verdict: Verdict) -> None:
    assert verdict.holds, verdict.explanation
