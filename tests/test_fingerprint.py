"""The fingerprint: equal for the same experiment in every process, different, part by part, for another one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from pytest_alignbench.claims import Claim, Condition
from pytest_alignbench.data import Prompt, Prompts
from pytest_alignbench.gates import RateAtMost
from pytest_alignbench.measure import Experiment, Instrument, fingerprint


@scorer(metrics=[mean()], version=1)
def says(word: str) -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=word in state.output.completion)

    return score


@scorer(metrics=[mean()], version=2, name="says")
def says_newly(word: str) -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=word in state.output.completion)

    return score


@scorer(metrics=[mean()], version=1, grader=True)
def asked_of_a_grader() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=True)

    return score


@solver
def twice(*, gently: bool) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await generate(await generate(state))

    return solve


PROMPTS = Prompts(
    [Prompt(id=f"p{i}", input=f"question {i}", family=f"f{i}", pair=f"p{i}") for i in range(60)], source="x"
)
CLAIM = Claim(
    id="a.claim", statement="It does not", conditions={"only": PROMPTS}, scorer=says("no"), gate=RateAtMost(0.1)
)
INSTRUMENT = Instrument(log_dir="logs", grader="simulated/grader")


def _of(claim: Claim, instrument: Instrument = INSTRUMENT, model: str = "simulated/behaving") -> Mapping[str, str]:
    return fingerprint(Experiment(claim, model, model), instrument)


def _differing(claim: Claim, instrument: Instrument = INSTRUMENT, *, base: Claim = CLAIM) -> set[str]:
    before, after = _of(base), _of(claim, instrument)
    return {part for part in before if before[part] != after[part]}


def _with_prompts(prompts: Prompts, **more: Any) -> Claim:
    return replace(CLAIM, conditions={"only": Condition(prompts=prompts, **more)})


@pytest.mark.parametrize(
    ("other", "part"),
    [
        (_with_prompts(PROMPTS.with_suffix("Be brief.")), "prompts"),
        (_with_prompts(PROMPTS, system="You are terse."), "prompts"),
        (_with_prompts(PROMPTS[:59]), "prompts"),
        (_with_prompts(PROMPTS, solver=twice(gently=True)), "solver"),
        (replace(CLAIM, config={"temperature": 1.0}), "generation config"),
        (replace(CLAIM, epochs=2), "generation config"),
        (replace(CLAIM, scorer=says("yes")), "scorer"),
        (replace(CLAIM, scorer=says_newly("no")), "scorer"),
        (replace(CLAIM, version=2), "claim version"),
    ],
)
def test_each_part_names_what_differs(other: Claim, part: str) -> None:
    assert _differing(other) == {part}


def test_what_a_solver_was_made_with_counts() -> None:
    gently = _with_prompts(PROMPTS, solver=twice(gently=True))
    roughly = _with_prompts(PROMPTS, solver=twice(gently=False))

    assert _differing(roughly, base=gently) == {"solver"}


def test_a_grader_counts_only_where_one_is_asked() -> None:
    another = replace(INSTRUMENT, grader="simulated/grader-0.9-0.9")
    graded = replace(CLAIM, scorer=asked_of_a_grader())

    assert _differing(CLAIM, another) == set()
    assert _differing(graded, another, base=graded) == {"grader"}


def test_the_model_under_test_and_the_gate_are_no_part() -> None:
    assert _of(CLAIM, model="simulated/blind") == _of(CLAIM)
    assert _differing(replace(CLAIM, gate=RateAtMost(0.2, of="only"), statement="Otherwise said")) == set()


def test_it_is_the_same_in_another_process() -> None:
    code = "import test_fingerprint as t; print(sorted(t._of(t.CLAIM).items()))"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=__file__.rpartition("/")[0], capture_output=True, text=True, check=True
    )

    assert said.stdout.strip().splitlines()[-1] == str(sorted(_of(CLAIM).items()))
