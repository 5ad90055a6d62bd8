"""The run engine: what is asked, in which order, and what becomes of every planned reply."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval, task
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import ChatMessageUser, Model, ModelOutput, ModelUsage
from inspect_ai.scorer import Score, Scorer, Target, match, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver, system_message

from builders import asking, claim
from conftest import Project
from inspecting import Scripted, output
from pytest_alignbench import Claim, Condition, LabelledReply, Prompt, Prompts, RateAtMost, inspect_task
from pytest_alignbench.data import Message
from pytest_alignbench.errors import ModelError
from pytest_alignbench.measure import Experiment, Instrument, Measured, Measurement, exhibited
from pytest_alignbench.measure.subjects import Subject
from pytest_alignbench.models import usable
from pytest_alignbench.observations import Exclusion, Observation
from server import FaultyServer, Reply, Request, Script, always, bad_json, invalid_key, no_choices, quota_exhausted

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:inspect_ai")
MODEL = "mockllm/scripted"


@scorer(metrics=[mean()])
def says_no() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=state.output.completion.startswith("No"))

    return score


def rate(id: str, **changed: Any) -> Claim:
    return claim(
        **{"id": id, "conditions": {"asked": asking(12)}, "scorer": says_no(), "gate": RateAtMost(0.5)} | changed
    )


@pytest.fixture(autouse=True)
def _spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other packages' tasks are not loaded: nobody asks for them, and it takes seconds."""
    monkeypatch.setattr("inspect_ai._util.entrypoints._inspect_ai_eps_loaded_all", True)


class Measuring:
    """A measurement that is stopped when its context ends."""

    def __init__(self, claims: Sequence[Claim], models: Mapping[str, Model], folder: Path, **instrument: Any) -> None:
        self.folder = folder
        under_test = [name for name in models if name != instrument.get("grader")]
        self.experiments = [Experiment(c, name, name) for c in claims for name in under_test]
        self.measurement = Measurement(
            self.experiments, Instrument(log_dir=str(folder), **instrument), models.__getitem__
        )

    def __enter__(self) -> Measuring:
        self.measurement.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.measurement.stop()

    def result(self, claim: str, model: str = MODEL, *, timeout: float = 60) -> Measured:
        found = self.measurement.result(f"{claim} @ {model}", timeout=timeout)
        assert found is not None, f"{claim} is not measured after {timeout} s"
        return found

    @property
    def logs(self) -> list[EvalLog]:
        return [read_eval_log(str(file)) for file in sorted(self.folder.glob("*.*"))]


def by_prompt(measured: Measured) -> dict[str, Observation]:
    return {o.prompt: o for o in measured.observations}


@solver
def after(ready: threading.Event, *, seconds: float = 0.0) -> Solver:
    """Asks the model once `ready` is set; prompt number i so many times i seconds later."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        while not ready.is_set():
            await asyncio.sleep(0.01)
        await asyncio.sleep(seconds * int(str(state.sample_id).rpartition("p")[2]))
        return await generate(state)

    return solve


# -- one run, that streams


def test_all_claims_share_a_run_and_results_do_not_wait_for_later_claims(tmp_path: Path) -> None:
    go_on = threading.Event()

    waiting = Condition(prompts=asking(8, start=20), solver=after(go_on))
    claims = [rate("t.first"), rate("t.second", conditions={"asked": waiting}, epochs=3)]
    model = Scripted(lambda asked: "No." if asked == "Question 3?" else "Yes.").model
    with Measuring(claims, {MODEL: model}, tmp_path, connections=1) as measuring:
        first = measuring.result("t.first")
        assert measuring.measurement.result(f"t.second @ {MODEL}", timeout=0) is None
        progress = measuring.measurement.progress()
        assert (progress.planned, progress.claims, progress.claims_done) == (12 + 24, 2, 1)
        go_on.set()
        second = measuring.result("t.second")
        # Named late, as by a test that another worker was to run: measured in the same run.
        for name, given in (("t.late", waiting), ("t.latest", asking(12))):
            measuring.measurement.require(Experiment(rate(name, conditions={"asked": given}), MODEL, MODEL))
            assert len(measuring.result(name).observations) == len(waiting.prompts if name == "t.late" else asking(12))
    assert {o.prompt: o.exhibits for o in first.observations} == {f"p{i}": i == 3 for i in range(12)}
    assert first.served == ("scripted",)
    assert Counter((o.prompt, o.epoch) for o in second.observations) == {
        (f"p{i}", epoch): 1 for i in range(20, 28) for epoch in (1, 2, 3)
    }
    runs = {log.eval.task_display_name or log.eval.task: log.eval.run_id for log in measuring.logs}
    assert len(runs) == 4
    assert len(set(runs.values())) == 2, "one run for what takes Inspect's samples, and one for what does not"
    assert {Path(log).parent for m in (first, second) for log in m.logs} == {tmp_path}


def test_stopping_asks_no_more_and_says_what_was_not_asked(tmp_path: Path) -> None:
    ready = threading.Event()
    ready.set()
    slow = {"asked": Condition(prompts=asking(12), solver=after(ready, seconds=0.5))}
    model = Scripted(lambda asked: "Yes.")
    claims = [rate("t.one", conditions=slow), rate("t.two", conditions=slow)]
    with Measuring(claims, {MODEL: model.model}, tmp_path, connections=1) as measuring:
        deadline = time.monotonic() + 30
        while not model.asked and time.monotonic() < deadline:
            time.sleep(0.01)
    stopped, asked = time.monotonic(), len(model.asked)
    for name in ("t.one", "t.two"):
        measured = measuring.result(name, timeout=5)
        assert len(measured.observations) == 12
        missing = [o.exclusion for o in measured.observations if o.exhibits is None]
        assert len(missing) > 6
        assert set(missing) == {Exclusion.UNMEASURED}
    time.sleep(max(0.0, stopped + 2 - time.monotonic()))
    assert len(model.asked) <= asked + 2, "what was in flight may end, nothing else is asked"


def test_the_session_around_is_left_as_it_was(tmp_path: Path) -> None:
    root = logging.getLogger()

    def surroundings() -> tuple[Any, ...]:
        return sys.excepthook, list(root.handlers), root.level, logging.getLogger("inspect_ai").propagate

    before, seen = surroundings(), []

    def answer(asked: str) -> str:
        seen.append(surroundings())
        return "Yes."

    with Measuring([rate("t.rate")], {MODEL: Scripted(answer).model}, tmp_path) as measuring:
        measuring.result("t.rate")
    assert surroundings() == before
    assert {id(hook) for hook, *_ in seen} == {id(before[0])}, "an error in a test would meet Inspect's hook"
    assert all(state[1:3] == before[1:3] for state in seen)


# -- two lanes, one experiment


@scorer(metrics=[mean()])
def telling_all() -> Scorer:
    """Says what a scorer can see of a sample; what is drawn anew for each is left out."""

    async def score(state: TaskState, target: Target) -> Score:
        seen: dict[str, Any] = {
            "id": state.sample_id,
            "epoch": state.epoch,
            "input": state.input_text,
            "user": state.user_prompt.text,
            "messages": [(message.role, message.text) for message in state.messages],
            "target": target.text,
            "metadata": state.metadata,
            "model": str(state.model),
            "stop": state.output.stop_reason,
        }
        told = {name: value for name, value in seen["metadata"].items() if "calls" not in name}
        said = json.dumps(seen | {"metadata": told}, sort_keys=True)
        return Score(value=state.output.completion.startswith("No"), answer="no" * 2, explanation=said)

    return score


def test_a_claim_is_measured_alike_in_both_lanes(tmp_path: Path) -> None:
    turns = (Message(role="user", content="First?"), Message(role="assistant", content="Yes."))
    rows = [
        Prompt(id="plain", input="Question 0?", target="a target", metadata={"level": 3}),
        Prompt(id="turns", input=(*turns, Message(role="user", content="Question 1?")), family="other"),
        Prompt(id="a/slash", input="Question 2?", pair="a pair"),
        Prompt(id="cut", input="Question 3?"),
        Prompt(id="broken", input="Question 4?"),
    ]
    arm = Condition(prompts=Prompts(rows, source="rows"), system="Be brief.")

    def answer(asked: str) -> str | ModelOutput:
        if "Question 4?" in asked:
            raise RuntimeError("no such question")
        if "Question 3?" in asked:
            return output("No, becau", stop_reason="max_tokens")
        return "No." if "Question 2?" in asked else "Yes."

    models = {name: Scripted(answer) for name in ("direct", "inspected")}
    given = {
        "epochs": 2,
        "scorer": telling_all(),
        "config": {"temperature": 0.5, "max_tokens": 7},
        "gate": RateAtMost(0.9),
    }
    seen = {}
    for name, asked in (("direct", arm), ("inspected", replace(arm, solver=generate()))):
        under_test = rate("t.rate", conditions={"asked": asked}, **given)
        with Measuring([under_test], {MODEL: models[name].model}, tmp_path / name) as measuring:
            assert measuring.experiments[0].direct is (name == "direct")
            seen[name] = measuring.result("t.rate").observations
    hide = {"sample": "", "reason": "", "calls": 1}
    assert [o.model_copy(update=hide) for o in seen["direct"]] == [o.model_copy(update=hide) for o in seen["inspected"]]
    told = [[json.loads(o.reason) | {"model": ""} for o in rows if o.exhibits is not None] for rows in seen.values()]
    assert told[0] == told[1]
    assert len(told[0]) == 2 * 3
    configs = [
        {(c.temperature, c.max_tokens, c.attempt_timeout, c.max_retries) for c in m.configs} for m in models.values()
    ]
    assert configs[0] == configs[1] == {(0.5, 7, 120, 4)}


# -- what cannot be scored


def test_what_cannot_be_scored_is_set_aside_before_the_scorer_sees_it(tmp_path: Path) -> None:
    unfit = {
        "Question 1?": (ModelOutput.from_content("m", "No, becau", stop_reason="max_tokens"), Exclusion.TRUNCATED),
        "Question 2?": (ModelOutput.from_content("m", "No, becau", stop_reason="model_length"), Exclusion.TRUNCATED),
        "Question 3?": (ModelOutput.from_content("m", "No", stop_reason="content_filter"), Exclusion.FILTERED),
        "Question 4?": (ModelOutput.from_content("m", " \u200b\n"), Exclusion.EMPTY),
    }
    for made, _ in unfit.values():
        made.usage = ModelUsage()  # Inspect would count tokens with a tokenizer that it downloads
    scored: list[str] = []

    @scorer(metrics=[mean()])
    def noting() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            scored.append(state.input_text)
            return Score(value=False)

        return score

    model = Scripted(lambda asked: unfit[asked][0] if asked in unfit else "Yes.").model
    with Measuring([rate("t.rate", scorer=noting())], {MODEL: model}, tmp_path) as measuring:
        rows = by_prompt(measuring.result("t.rate"))
    for question, (_, cause) in unfit.items():
        row = rows[f"p{question.removeprefix('Question ').removesuffix('?')}"]
        assert (row.exhibits, row.exclusion) == (None, cause)
        assert row.reason
    assert sorted(scored) == sorted({f"Question {i}?" for i in range(12)} - set(unfit))


def test_limits_and_scores_that_say_nothing_are_exclusions(tmp_path: Path) -> None:
    @solver
    def limited() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            if state.input_text == "Question 4?":
                state.token_limit = 1
            return await generate(state)

        return solve

    @scorer(metrics=[mean()])
    def unsure() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            values: dict[str, Any] = {
                "Question 5?": 0.5,
                "Question 6?": "perhaps",
                "Question 7?": "C",
                "Question 8?": 1,
            }
            return Score(value=values.get(state.input_text, 0))

        return score

    made = rate("t.rate", conditions={"asked": Condition(prompts=asking(12), solver=limited())}, scorer=unsure())
    with Measuring([made], {MODEL: Scripted(lambda asked: "Yes.").model}, tmp_path) as measuring:
        rows = by_prompt(measuring.result("t.rate"))
    assert {id: row.exclusion for id, row in rows.items() if row.exhibits is None} == {
        "p4": Exclusion.LIMIT,
        "p5": Exclusion.GRADER_FAILED,
        "p6": Exclusion.GRADER_FAILED,
    }
    assert rows["p4"].reason == "its token limit of 1 was reached"
    assert {id for id, row in rows.items() if row.exhibits} == {"p7", "p8"}


@pytest.mark.parametrize("solvers", [None, generate()], ids=["direct", "inspected"])
def test_a_scorer_that_gives_no_score_at_all_spoils_no_other_reply(solvers: Solver | None, tmp_path: Path) -> None:
    cyclic: dict[str, Any] = {}
    cyclic["itself"] = [cyclic]

    @scorer(metrics=[mean()])
    def careless() -> Scorer:
        async def score(state: TaskState, target: Target) -> Any:
            given = {
                "Question 1?": None,
                "Question 2?": b"C",
                "Question 3?": True,
                "Question 4?": Score(value=True, metadata={"beside": cyclic}),
                "Question 5?": Score(value=float("nan")),
                "Question 6?": Score(value=True, explanation="because " * 1_000_000),
            }
            return given.get(state.input_text, Score(value=False))

        return score

    made = rate("t.careless", conditions={"asked": Condition(prompts=asking(12), solver=solvers)}, scorer=careless())
    with Measuring([made, rate("t.other")], {MODEL: Scripted(lambda asked: "Yes.").model}, tmp_path) as measuring:
        rows = by_prompt(measuring.result("t.careless"))
        assert all(o.exhibits is False for o in measuring.result("t.other").observations)
    unscored = {f"p{number}": Exclusion.GRADER_FAILED for number in range(1, 6)}
    assert {id: row.exclusion for id, row in rows.items() if row.exhibits is None} == unscored
    assert rows["p2"].reason == "TypeError: the scorer gave b'C', which is no Score"
    assert (rows["p6"].exhibits, len(rows["p6"].reason)) == (True, 20_000), "a record keeps no megabytes of it"


@pytest.mark.parametrize(
    ("value", "seen"),
    [(True, True), (False, False), (1, True), (0.0, False), ("C", True), ("I", False)]
    + [(value, None) for value in (0.5, 2, -1, "P", "N", "yes", float("nan"), None, {"a": 1}, [1])],
)
def test_only_a_plain_yes_or_no_is_one(value: Any, seen: bool | None) -> None:
    assert exhibited(value) is seen


# -- experiments in several steps, and tasks of Inspect's


@solver
def revising() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state = await generate(state)
        state.messages.append(ChatMessageUser(content="Are you sure?"))
        return await generate(state)

    return solve


def test_a_solver_in_steps_is_scored_by_its_last_reply(tmp_path: Path) -> None:
    labelled = (
        LabelledReply(id="holds", text="Yes, I am.", exhibits=False, steps=("No, wait.",)),
        LabelledReply(id="caves", text="No, you are right.", exhibits=True, steps=("Yes.",)),
    )
    condition = Condition(prompts=asking(12), solver=[system_message("Be brief."), revising()])
    made = rate("t.steps", conditions={"asked": condition}, replies=labelled)
    real = Scripted(lambda asked: "No, sorry." if "Are you sure?" in asked else "Yes.")
    models = {MODEL: real.model, "simulated/rate-0.5": usable("simulated/rate-0.5")}
    with Measuring([made], models, tmp_path) as measuring:
        scripted = measuring.result("t.steps")
        simulated = measuring.result("t.steps", "simulated/rate-0.5")
    assert {(o.exhibits, o.reply) for o in scripted.observations} == {(True, "No, sorry.")}
    assert sorted(map(len, real.asked)) == [2] * 12 + [4] * 12, "system and question; then reply and doubt too"
    assert {(o.exhibits, o.reply) for o in simulated.observations} == {(r.exhibits, r.text) for r in labelled}
    said = {
        tuple(m.text for m in sample.messages if m.role == "assistant")
        for log in measuring.logs
        if log.eval.model.startswith("simulated")
        for sample in log.samples or []
    }
    assert said == {(*r.steps, r.text) for r in labelled}


@task
def capitals(wrong: int = 2) -> Task:
    cities = ["Paris", "Rome", "Bern", "Oslo", "Lima", "Cairo"]
    data = [
        Sample(input=f"Capital {i}?", target=city, metadata={"region": f"r{i % 2}"}) for i, city in enumerate(cities)
    ]
    return Task(
        dataset=data,
        solver=[system_message(f"Get {wrong} wrong."), generate()],
        scorer=match(),
        epochs=2,
        name="capitals",
    )


def test_a_task_of_inspects_is_scored_as_inspect_scores_it(tmp_path: Path) -> None:
    def answer(asked: str) -> str:
        assert asked.startswith("Get 3 wrong.")
        number = int(asked.rpartition("Capital ")[2].strip("?"))
        return "Nowhere" if number < 3 else ["", "", "", "Oslo", "Lima", "I say Cairo"][number]

    [log] = eval(capitals(wrong=3), model=Scripted(answer).model, log_dir=str(tmp_path / "direct"), display="none")
    made = rate(
        "t.task",
        conditions={
            "task": inspect_task(capitals, args={"wrong": 3}, exhibits=lambda value: value == "C", family="region")
        },
        scorer=None,
        gate=RateAtMost(0.5, of="task"),
    )
    with Measuring([made], {MODEL: Scripted(answer).model}, tmp_path / "ours") as measuring:
        measured = measuring.result("t.task")
    direct = {(str(s.id), s.epoch): s.scores["match"].value == "C" for s in log.samples or [] if s.scores}
    assert len(direct) == 12
    assert Counter(direct.values()) == {False: 6, True: 6}
    assert {(o.prompt, o.epoch): o.exhibits for o in measured.observations} == direct
    assert {o.family for o in measured.observations} == {"r0", "r1"}
    assert {o.condition for o in measured.observations} == {"task"}


def test_a_task_that_cannot_be_loaded_is_a_fault_and_the_next_claim_still_runs(tmp_path: Path) -> None:
    def broken() -> Task:
        raise RuntimeError("no such data")

    made = rate(
        "t.task",
        conditions={"task": inspect_task(broken, exhibits=bool)},
        scorer=None,
        gate=RateAtMost(0.5, of="task"),
    )
    with Measuring([made, rate("t.rate")], {MODEL: Scripted(lambda asked: "Yes.").model}, tmp_path) as measuring:
        assert "RuntimeError: no such data" in str(measuring.result("t.task").fault)
        assert measuring.result("t.rate").fault is None


# -- graders


@scorer(metrics=[mean()], grader=True)
def graded() -> Scorer:
    from inspect_ai.model import get_model

    async def score(state: TaskState, target: Target) -> Score:
        grade = await get_model(role="grader").generate(f"Does it refuse?\n{state.output.completion}")
        return Score(value="YES" in grade.completion)

    return score


def test_a_model_that_cannot_be_made_is_a_fault_of_its_claims_alone(tmp_path: Path) -> None:
    class Models(dict[str, Model]):
        def __getitem__(self, name: str) -> Model:
            if name == "mockllm/broken":
                raise ModelError("nobody can make it")
            return super().__getitem__(name)

    model = Scripted(lambda asked: "Yes.").model
    models = Models({"mockllm/broken": model, MODEL: model})
    with Measuring([rate("t.first"), rate("t.second")], models, tmp_path, connections=2) as measuring:
        for claim in ("t.first", "t.second"):
            broken = measuring.result(claim, "mockllm/broken")
            assert broken.fault == "none of 12 replies in 'asked' could be scored: ModelError: nobody can make it"
            sound = measuring.result(claim)
            assert (sound.fault, len(sound.observations)) == (None, 12)


def test_a_grader_is_calibrated_once_for_all_models(tmp_path: Path) -> None:
    labelled = tuple(
        LabelledReply(id=f"{kind}-{i}", text=f"{kind}, {i}", exhibits=kind == "No", split="test" if i < 8 else "tune")
        for kind in ("No", "Yes")
        for i in range(10)
    )
    # This grader takes "No, 3" for a yes, and "Yes, 1" and "Yes, 2" for a no.
    wrong = ("No, 3", "Yes, 1", "Yes, 2")
    grader = Scripted(lambda asked: "YES" if ("\nNo" in asked) != asked.endswith(wrong) else "NO", name="grader")
    models = {
        "mockllm/a": Scripted(lambda asked: "Yes, 7", name="a").model,
        "mockllm/b": Scripted(lambda asked: "No, 7", name="b").model,
        "mockllm/grader": grader.model,
    }
    made = rate("t.graded", scorer=graded(), replies=labelled)
    with Measuring([made], models, tmp_path, grader="mockllm/grader") as measuring:
        found = [measuring.result("t.graded", name) for name in ("mockllm/a", "mockllm/b")]
    for measured in found:
        assert measured.calibration is not None
        assert vars_of(measured.calibration) == {"tp": 7, "fn": 1, "tn": 6, "fp": 2}
    assert [{o.exhibits for o in measured.observations} for measured in found] == [{False}, {True}]
    assert len(grader.asked) == 16 + 2 * 12


def vars_of(value: Any) -> dict[str, int]:
    return {name: getattr(value, name) for name in ("tp", "fn", "tn", "fp")}


# -- real clients on a server that fails


NAMES = ("openai-api/faulty/m-1", "anthropic/claude-3-5-m")
BOTH = ("--model", NAMES[0], "--model", NAMES[1])


def test_a_refused_key_and_a_spent_quota_end_after_one_call(project: Project) -> None:
    project.suite("difference(), rate(), rate('t.graded', scorer=graded())")

    def refuses(request: Request) -> Reply:
        return invalid_key(request) if request.api == "openai" else quota_exhausted(request)

    with FaultyServer(refuses) as server:
        project.serve(server.environment())
        result = project.pytest("-k", "not graded", *BOTH)
        assert Counter(request.api for request in server.requests) == {"openai": 1, "anthropic": 1}
        result.assert_outcomes(errors=4, deselected=2)
        result.stdout.fnmatch_lines(
            ["*t.rate @ openai-api*: not measured: none of 24 replies*AuthenticationError*Incorrect API key provided*"]
        )
        result.stdout.fnmatch_lines(
            ["*t.rate @ anthropic*: not measured: none of 24 replies*credit balance is too low*"]
        )
        # A grader is refused in the same way, once for all replies and labels.
        before = len(server.requests)
        result = project.pytest("-k", "graded", "--model", "simulated/behaving", "--grader", NAMES[0])
        result.assert_outcomes(errors=1, deselected=2)
        result.stdout.fnmatch_lines(["*t.graded*: not measured: none of 24 replies*Incorrect API key provided*"])
        assert len(server.requests) - before <= 2


def test_calls_that_waited_for_the_first_set_out_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all replies take equally long, calls that set out together would wait for each other for ever after."""
    monkeypatch.setattr("pytest_alignbench.measure.subjects._APART", 0.2)
    model = Scripted(lambda asked: "Yes.").model
    set_out = []
    answer = model.api.generate

    async def generate(*asked: Any) -> Any:
        set_out.append(time.monotonic())
        await asyncio.sleep(0.05)
        return await answer(*asked)

    model.api.generate = generate  # type: ignore[method-assign, assignment]
    Subject(MODEL).guard(model)

    async def ask_all() -> None:
        await asyncio.gather(*(model.generate("Are you there?") for _ in range(4)))
        await asyncio.gather(*(model.generate("Are you there?") for _ in range(4)))

    asyncio.run(ask_all())
    gaps = [after - before for before, after in pairwise(set_out)]
    assert gaps[0] >= 0.05, "the first is alone"
    assert min(gaps[1:3]) >= 0.1, "those that waited for it follow one by one"
    assert set_out[-1] - set_out[4] < 0.6, "and nobody waits any more"


def test_a_lasting_outage_is_an_error_after_a_bounded_number_of_calls(project: Project) -> None:
    project.suite("rate(conditions={'quiet': asks('quiet', 8)}, gate=RateAtMost(0.5))")
    with FaultyServer(always(Reply(status=500))) as server:
        project.serve(server.environment(), "attempts = 2\nconnections = 100")
        result = project.pytest(*BOTH)
        result.assert_outcomes(errors=2)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert Counter(request.api for request in server.requests) == {"openai": 16, "anthropic": 16}
    for record in project.records().values():
        assert {o.exclusion for o in record.observations} == {Exclusion.ERRORED}
        assert record.fault is not None
        assert "InternalServerError" in record.fault


def test_each_fault_of_a_provider_is_excluded_by_its_cause(project: Project) -> None:
    faults: dict[int, Script] = {
        1: always(Reply("No, becau", stop="length")),
        2: always(Reply("No", stop="content_filter")),
        3: always(Reply("")),
        4: no_choices,
        5: always(Reply(status=500)),
        6: bad_json,
        7: always(Reply(reset=True)),
    }

    def fails_now_and_then(request: Request) -> Reply:
        number = int(request.text.split()[1].strip(","))
        if number == 8 and request.attempt == 0:
            return Reply(status=429, headers={"Retry-After": "0"})
        return faults[number](request) if number in faults else Reply("Yes, gladly.")

    project.suite("rate()")
    with FaultyServer(fails_now_and_then) as server:
        project.serve(server.environment(), "attempts = 2\nconnections = 100")
        result = project.pytest(*BOTH)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"inconclusive": 2}, "seven missing replies of 24 could change the verdict"
    for record in project.records().values():
        causes = {o.prompt: str(o.exclusion) for o in record.observations if o.exhibits is None}
        assert causes == {
            "quiet-1": "truncated",
            "quiet-2": "filtered",
            "quiet-3": "empty",
            # OpenAI's client reads no choice as an error, Anthropic's no block as an empty reply.
            "quiet-4": "errored" if record.model == NAMES[0] else "empty",
            "quiet-5": "errored",
            "quiet-6": "errored",
            "quiet-7": "errored",
        }
        assert not any(o.exhibits for o in record.observations), "a part of a refusal was scored"
    result.stdout.fnmatch_lines(["INCONCLUSIVE*anthropic*0/17*3 errored, 1 truncated, 1 filtered, 2 empty*"])
