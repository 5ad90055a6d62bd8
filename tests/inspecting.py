"""Small Inspect runs for the tests of scorers and solvers: replies that are given, models that are functions.

Every output states its usage, since Inspect would otherwise count tokens with a tokenizer that it downloads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, ModelUsage, StopReason, get_model
from inspect_ai.scorer import Score, Scorer, Target, accuracy, includes, scorer
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver
from inspect_ai.tool import ToolChoice, ToolInfo

Answering = Callable[[str], str | ModelOutput]
"""From what a model is asked, all messages as one text, to its answer."""


def output(text: str, *, stop_reason: StopReason = "stop") -> ModelOutput:
    made = ModelOutput.from_content(model="scripted", content=text, stop_reason=stop_reason)
    made.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
    return made


class Scripted:
    """A model that answers by a function and remembers what it was asked, and with which settings."""

    def __init__(self, answer: Answering, *, name: str = "scripted", config: GenerateConfig | None = None) -> None:
        self._answer = answer
        self.asked: list[list[ChatMessage]] = []
        self.configs: list[GenerateConfig] = []
        self.model: Model = get_model(
            f"mockllm/{name}", custom_outputs=self._generate, config=config or GenerateConfig(), memoize=False
        )

    def _generate(
        self, messages: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        self.asked.append(messages)
        self.configs.append(config)
        answer = self._answer(self.texts[-1])
        return answer if isinstance(answer, ModelOutput) else output(answer)

    @property
    def texts(self) -> list[str]:
        return ["\n".join(message.text for message in messages) for messages in self.asked]


@solver
def replies_with(replies: Sequence[str]) -> Solver:
    """Gives each sample the reply of its number, without asking anybody."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.output = output(replies[int(state.sample_id)])
        return state

    return solve


def run(
    samples: Sequence[Sample],
    *,
    folder: Path,
    solver: Solver,
    scorer: Scorer | None = None,
    model: Scripted | Model | None = None,
    roles: Mapping[str, Scripted | Model] | None = None,
    config: GenerateConfig | None = None,
) -> list[EvalSample]:
    """The samples as Inspect logs them, in their order; a fault in solver or scorer is left in `error`."""
    [log] = eval(
        Task(dataset=list(samples), solver=solver, scorer=scorer, config=config or GenerateConfig()),
        model=_model(model or Scripted(lambda asked: "unasked")),
        model_roles={name: _model(given) for name, given in (roles or {}).items()},
        log_dir=str(folder),
        display="none",
        fail_on_error=False,
        score=scorer is not None,
        max_connections=1,
    )
    return sorted(log.samples or [], key=lambda sample: str(sample.id))


def _model(given: Scripted | Model) -> Model:
    return given.model if isinstance(given, Scripted) else given


def scores(
    scorer: Scorer,
    replies: Sequence[str],
    *,
    folder: Path,
    prompt: str | Sequence[ChatMessage] = "Please write four lines about the sea.",
    metadata: Mapping[str, Any] | None = None,
    grader: Scripted | Model | None = None,
) -> list[Score]:
    """What a scorer makes of replies to one prompt."""
    asked = prompt if isinstance(prompt, str) else list(prompt)
    samples = [Sample(id=n, input=asked, metadata=dict(metadata or {})) for n in range(len(replies))]
    roles = {"grader": grader} if grader is not None else {}
    done = run(samples, folder=folder, solver=replies_with(replies), scorer=scorer, roles=roles)
    assert all(sample.error is None for sample in done), [sample.error for sample in done]
    return [next(iter((sample.scores or {}).values())) for sample in sorted(done, key=lambda sample: int(sample.id))]


@scorer(metrics=[accuracy()])
def polite() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value="please" in state.output.completion)

    return score


def evaluated(folder: Path, *, name: str = "scripted", wrong: int = 2, **options: Any) -> str:
    """The log of forty sums, of which the first so many are wrong; two scorers, a topic for every two."""
    rows = [Sample(input=f"What is {i}?", target=f"{i}", metadata={"topic": f"t{i // 2}"}) for i in range(40)]

    def answer(asked: str) -> str:
        number = int("".join(filter(str.isdigit, asked)))
        return "I do not know." if number < wrong else f"It is {number}, please."

    task = Task(
        dataset=MemoryDataset(rows),
        solver=generate(),
        scorer=[includes(), polite()],
        name="counting",
        config=GenerateConfig(temperature=0.0),
    )
    (done,) = eval(task, model=Scripted(answer, name=name).model, log_dir=str(folder), display="none", **options)
    return str(done.location)
