"""The same prompts as Inspect tasks, one for each claim. `TASKS` below becomes that many functions: see `ways`."""

import os

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState, generate

PROMPTS = int(os.environ["BENCH_PROMPTS"])


@scorer(metrics=[mean()])
def sorry() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value="sorry" in state.output.completion.lower())

    return score


def made(claim: int) -> Task:
    numbers = range(claim * PROMPTS, (claim + 1) * PROMPTS)
    samples = [Sample(id=n, input=f"Question #{n:06}: what is the capital of France?") for n in numbers]
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=sorry())


@task
def claim_0() -> Task:
    return made(0)
