"""Imports: logs that Inspect has written become records that say where they came from, and compare with nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from inspect_ai._util.error import EvalError
from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalSample,
    EvalSampleLimit,
    EvalSpec,
    EvalStats,
    ProvenanceData,
    read_eval_log,
    write_eval_log,
)
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelConfig,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.scorer import Score
from inspect_ai.tool import ToolCall

from conftest import Project
from inspecting import evaluated
from pytest_alignbench import AlignbenchError, ClaimError, HistoryError, RateAtMost, inspect_task
from pytest_alignbench.history import History, Past, Run
from pytest_alignbench.imports import Reading, _outcome, exhibited, gate_of, imported
from pytest_alignbench.measure import scoring
from pytest_alignbench.observations import Exclusion
from pytest_alignbench.verdicts import judge

READING = Reading(claim="foreign.wrong", gate=RateAtMost(0.10), exhibits=("I",))


def output(text: str = "Seven.", *, stop: Any = "stop") -> ModelOutput:
    made = ModelOutput.from_content(model="small-2026", content=text, stop_reason=stop)
    made.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
    return made


def sample(id: int | str, value: Any = "C", **changed: Any) -> EvalSample:
    given: dict[str, Any] = {
        "id": id,
        "epoch": 1,
        "input": f"Question {id}?",
        "target": "seven",
        "messages": [ChatMessageUser(content=f"Question {id}?"), ChatMessageAssistant(content="Seven.")],
        "output": output(),
        "scores": {"includes": Score(value=value, answer="Seven.", explanation="looked for seven")},
        "metadata": {"topic": f"topic {id}"},
        "model_usage": {"small": ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)},
        "uuid": f"uuid {id}",
    }
    return EvalSample(**given | changed)


def log(folder: Path, samples: Sequence[EvalSample] | None, *, name: str = "a", **changed: Any) -> str:
    """The path of a log with these samples."""
    spec: dict[str, Any] = {
        "eval_id": f"eval {name}",
        "run_id": "run",
        "created": "2026-01-31T15:25:30+01:00",
        "task": "sums",
        "task_version": 0,
        "dataset": EvalDataset(samples=len(samples or []), sample_ids=[s.id for s in samples or []]),
        "model": "acme/small",
        "config": EvalConfig(epochs=1),
        "packages": {"inspect_ai": "0.3.285"},
    }
    status = changed.pop("status", "success")
    made = EvalLog(
        status=status,
        eval=EvalSpec(**spec | changed),
        stats=EvalStats(started_at="2026-01-31T15:25:30+01:00", completed_at="2026-01-31T15:29:30+01:00"),
        samples=None if samples is None else list(samples),
    )
    place = folder / f"{name}.eval"
    write_eval_log(made, str(place))
    return str(place)


def read(*places: str, reading: Reading = READING) -> Run:
    return imported(places, reading, alpha=0.05, m=None)


# -- a log, as Inspect writes it


def test_a_log_of_inspect_eval_becomes_a_run(tmp_path: Path) -> None:
    place = evaluated(tmp_path / "logs")
    reading = Reading(claim="foreign.wrong", gate=RateAtMost(0.3), scorer="includes", exhibits=("I",), family="topic")
    run = read(place, reading=reading)
    (record,) = run.records
    assert (record.claim, record.asked, record.model) == ("foreign.wrong", "mockllm/scripted", "mockllm/scripted")
    assert record.statement == "Imported from the task counting"
    assert run.imported == record.logs == (place,)
    assert run.complete
    assert run.versions["inspect_ai"] == read_eval_log(place).eval.packages["inspect_ai"]
    assert [o.exhibits for o in record.observations] == [True] * 2 + [False] * 38
    first = record.observations[0]
    assert (first.prompt, first.pair, first.condition, first.family) == ("1", "1", "asked", "t0")
    assert (first.reply, first.served_model, first.input_tokens) == ("I do not know.", "scripted", 10)
    verdict = judge(record)
    assert verdict.effect is not None
    assert (verdict.effect.value, verdict.effect.families, verdict.holds) == (0.05, 20, True)
    assert f"inspect view --log-dir {tmp_path / 'logs'}" in verdict.explanation


def test_what_was_not_asked_for_is_not_missing(tmp_path: Path) -> None:
    place = evaluated(tmp_path / "logs", limit=10, epochs=2)
    run = read(
        place, reading=Reading(claim="foreign.impolite", gate=RateAtMost(0.3), scorer="polite", exhibits=("false",))
    )
    assert [len(run.records[0].observations), run.complete] == [20, True]
    assert {o.epoch for o in run.records[0].observations} == {1, 2}
    assert sum(o.exhibits is True for o in run.records[0].observations) == 4


def test_the_logs_of_a_folder_are_one_run_with_a_record_for_each_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "logs"
    for name in ("small", "large"):
        evaluated(folder, name=name, wrong=3 if name == "small" else 0)
    reading = Reading(claim="foreign.wrong", gate=RateAtMost(0.3), scorer="includes", exhibits=("I",))
    run = read(str(folder), reading=reading)
    assert sorted(record.asked for record in run.records) == ["mockllm/large", "mockllm/small"]
    monkeypatch.chdir(tmp_path)
    assert all(name.startswith("logs/") for name in read("logs", reading=reading).imported), "as it was named"
    assert {record.m for record in run.records} == {2}
    fingerprints = [record.fingerprint for record in run.records]
    assert fingerprints[0] == fingerprints[1], "the same experiment on two models"
    with pytest.raises(AlignbenchError, match=r"are both of mockllm/(small|large): import them one by one"):
        read(str(folder), str(folder), reading=reading)


# -- what cannot be scored


CASES: dict[str, tuple[dict[str, Any], Exclusion | None]] = {
    "an error": ({"error": EvalError(message="boom", traceback="t", traceback_ansi="t")}, Exclusion.ERRORED),
    "a limit": ({"limit": EvalSampleLimit(type="token", limit=100)}, Exclusion.LIMIT),
    "no choice": ({"output": ModelOutput(model="small")}, Exclusion.ERRORED),
    "the provider's error": ({"output": ModelOutput(model="small", error="503")}, Exclusion.ERRORED),
    "cut short": ({"output": output("Seven and", stop="max_tokens")}, Exclusion.TRUNCATED),
    "too long for the context": ({"output": output("Seven and", stop="model_length")}, Exclusion.TRUNCATED),
    "filtered": ({"output": output("", stop="content_filter")}, Exclusion.FILTERED),
    "empty": ({"output": output("")}, Exclusion.EMPTY),
    "no words": ({"output": output(" …\n")}, Exclusion.EMPTY),
    "an agent that says nothing": (
        {
            "output": output(""),
            "messages": [
                ChatMessageAssistant(content="", tool_calls=[ToolCall(id="1", function="f", arguments={})]),
            ],
        },
        None,
    ),
    "unscored": ({"scores": {"includes": Score.unscored(reason="no", explanation="no")}}, Exclusion.GRADER_FAILED),
    "no score": ({"scores": {}}, Exclusion.GRADER_FAILED),
    "a score that is neither": ({"scores": {"includes": Score(value="P")}}, Exclusion.GRADER_FAILED),
    "a share": ({"scores": {"includes": Score(value=0.5)}}, Exclusion.GRADER_FAILED),
    "several values": ({"scores": {"includes": Score(value={"a": 1})}}, Exclusion.GRADER_FAILED),
    "scored": ({}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_scored_is_excluded_as_it_would_be_in_a_run_of_ours(case: str) -> None:
    changed, cause = CASES[case]
    made = sample(1, **changed)
    plain = Reading(claim="t.t", gate=RateAtMost(0.1))
    found = _outcome(made, plain, "includes")
    assert found[1] is cause
    assert (found[0] is None) == (cause is not None)
    arm = inspect_task("sums", exhibits=lambda value: exhibited(Score(value=value), ()), scorer="includes")
    ours = scoring._outcome(made, arm)
    assert found[:2] == ours[:2]
    assert (found[2], found[3]) == (ours[2], ours[3])


def test_a_sample_that_was_marked_as_invalid_is_excluded(tmp_path: Path) -> None:
    marked = sample(1, "I", invalidation=ProvenanceData(author="me", reason="wrong key"))
    run = read(log(tmp_path, [marked, sample(2)]))
    first, second = run.records[0].observations
    assert (first.exclusion, first.reason) == (Exclusion.ERRORED, "marked as invalid: wrong key")
    assert second.exhibits is False


@pytest.mark.parametrize("scores", [None, {"includes": Score(value="C")}])
def test_nothing_scored_is_a_fault_and_no_verdict(tmp_path: Path, scores: dict[str, Score] | None) -> None:
    run = read(
        log(
            tmp_path,
            [
                sample(i, scores=scores, error=EvalError(message="503", traceback="", traceback_ansi=""))
                for i in range(4)
            ],
        )
    )
    (record,) = run.records
    assert record.fault == "no reply in 'asked' could be scored: 503"
    assert judge(record).word == "ERROR"


@pytest.mark.parametrize(
    ("value", "values", "exhibits"),
    [
        ("C", (), True),
        ("I", (), False),
        (1, (), True),
        (0.0, (), False),
        (True, (), True),
        ("true", (), True),
        ("P", (), None),
        (0.5, (), None),
        (float("nan"), (), None),
        (["C"], (), None),
        ("I", ("I",), True),
        ("C", ("I",), False),
        ("P", ("I", "P"), True),
        (1, ("1.0",), True),
        (1.0, ("1",), True),
        (0.5, ("0.5",), True),
        (0.5, ("1",), False),
        (True, ("True",), True),
        (False, ("false",), True),
        ("refusal", ("refusal",), True),
        ("Refusal", ("refusal",), False),
        (float("nan"), ("1",), None),
        ({"a": 1}, ("1",), None),
    ],
)
def test_which_values_say_yes(value: Any, values: tuple[str, ...], exhibits: bool | None) -> None:
    assert exhibited(Score(value=value), values) is exhibits


# -- logs that are not whole


def test_what_a_stopped_run_did_not_ask_is_missing(tmp_path: Path) -> None:
    place = log(
        tmp_path,
        [sample(1), sample(2, "I")],
        dataset=EvalDataset(samples=4, sample_ids=[1, 2, 3, 4]),
        config=EvalConfig(epochs=2),
        status="cancelled",
    )
    run = read(place)
    (record,) = run.records
    assert not run.complete
    assert len(record.observations) == 8
    missing = [o for o in record.observations if o.exhibits is None]
    assert {o.exclusion for o in missing} == {Exclusion.UNMEASURED}
    assert missing[0].reason == "not in the log, whose status is cancelled"
    # of what was asked at least once, the other epoch is the same prompt
    assert [o.prompt_hash for o in missing][:2] == [o.prompt_hash for o in record.observations[:2]]
    whole = read(log(tmp_path, [sample(i) for i in range(1, 5)], name="b")).records[0]
    assert Past.of(record, run="r").differs(whole.fingerprint), "nobody knows what else would have been asked"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no log of Inspect's"),
        (b"not a log", "is no log of Inspect's"),
        (b'{"a": 1}', "is no log of Inspect's"),
    ],
)
def test_what_is_no_log_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    good = log(tmp_path, [sample(1)])
    for name in ("broken.eval", "broken.json"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AlignbenchError, match=f"{name} {said}"):
            read(good, str(tmp_path / name))
    with pytest.raises(AlignbenchError, match="is no log of Inspect's"):
        read(str(tmp_path / "nowhere.eval"))


def test_what_holds_nothing_to_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(AlignbenchError, match=r"a\.eval holds no sample \(its status: started\)"):
        read(log(tmp_path, [], status="started"))
    with pytest.raises(AlignbenchError, match=r"b\.eval holds no score"):
        read(log(tmp_path, [sample(1, scores=None)], name="b"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(AlignbenchError, match=r"empty holds no log of Inspect's"):
        read(str(tmp_path / "empty"))


def test_which_score_is_meant_must_be_clear(tmp_path: Path) -> None:
    two = {"includes": Score(value="C"), "polite": Score(value="I")}
    place = log(tmp_path, [sample(1, scores=two), sample(2, scores=two)])
    with pytest.raises(AlignbenchError, match=r"has 2 scores: give --scorer one of includes, polite"):
        read(place)
    with pytest.raises(AlignbenchError, match=r"has no score 'exact': give --scorer one of includes, polite"):
        read(place, reading=Reading(claim="t.t", gate=RateAtMost(0.1), scorer="exact"))
    chosen = read(place, reading=Reading(claim="t.t", gate=RateAtMost(0.1), scorer="polite"))
    assert [o.exhibits for o in chosen.records[0].observations] == [False, False]


def test_a_family_that_a_sample_does_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(AlignbenchError, match=r"sample 1: there is no 'area' in its metadata, which has topic"):
        read(log(tmp_path, [sample(1)]), reading=Reading(claim="t.t", gate=RateAtMost(0.1), family="area"))


# -- gates and claims


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"at_most": 0.1, "at_least": None, "of": "", "over": ""}, "RateAtMost"),
        ({"at_most": None, "at_least": 0.1, "of": "a", "over": ""}, "RateAtLeast"),
        ({"at_most": 0.1, "at_least": None, "of": "a", "over": "b"}, "DifferenceAtMost"),
        ({"at_most": None, "at_least": 0.1, "of": "a", "over": "b"}, "DifferenceAtLeast"),
    ],
)
def test_options_are_a_gate(options: dict[str, Any], kind: str) -> None:
    made = gate_of(**options).to_json()
    assert (made["kind"], made["limit"], made["of"]) == (kind, 0.1, options["of"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"at_most": None, "at_least": None, "of": "", "over": ""}, "either --at-most or --at-least"),
        ({"at_most": 0.1, "at_least": 0.1, "of": "", "over": ""}, "either --at-most or --at-least"),
        ({"at_most": 7.0, "at_least": None, "of": "", "over": ""}, "did you mean 0.07"),
        ({"at_most": 0.1, "at_least": None, "of": "", "over": "plain"}, "say which by --of"),
    ],
)
def test_options_that_are_no_gate_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ClaimError, match=said):
        gate_of(**options)


def test_a_claim_has_an_id() -> None:
    with pytest.raises(ClaimError, match="did you mean 'my-claim'"):
        Reading(claim="My claim", gate=RateAtMost(0.1))


def test_a_condition_that_is_not_there_is_named(tmp_path: Path) -> None:
    place = log(tmp_path, [sample(1)])
    with pytest.raises(AlignbenchError, match=r"no condition 'plain' in it: give --of one of 'asked'"):
        read(place, reading=Reading(claim="t.t", gate=RateAtMost(0.1, of="plain")))


# -- what it may be compared with


def test_two_imports_of_a_task_are_the_same_experiment_and_a_change_of_it_is_another(tmp_path: Path) -> None:
    rows = [sample(i) for i in range(1, 5)]
    reference = read(log(tmp_path, rows)).records[0].fingerprint
    same = {"model": "acme/large", "model_generate_config": GenerateConfig(max_connections=7, timeout=3)}
    assert read(log(tmp_path, rows, name="same", **same)).records[0].fingerprint == reference
    system = [ChatMessageSystem(content="Be brief."), ChatMessageUser(content="Question 4?")]
    for name, part, changed, samples in (
        ("task", "imported", {"task": "products"}, rows),
        ("version", "imported", {"task_version": 2}, rows),
        ("args", "imported", {"task_args": {"hard": True}}, rows),
        ("warm", "generation config", {"model_generate_config": GenerateConfig(temperature=1.0)}, rows),
        ("epochs", "generation config", {"config": EvalConfig(epochs=3)}, rows),
        ("grader", "grader", {"model_roles": {"grader": ModelConfig(model="acme/grader")}}, rows),
        ("prompts", "prompts", {}, [*rows[:3], sample(4, input="Question four?")]),
        ("system", "prompts", {}, [*rows[:3], sample(4, input=system)]),
    ):
        other = read(log(tmp_path, samples, name=name, **changed)).records[0].fingerprint
        assert {key for key in reference if other[key] != reference[key]} == {part}, name
    otherwise = read(log(tmp_path, rows), reading=Reading(claim="foreign.wrong", gate=RateAtMost(0.1), exhibits=("C",)))
    assert otherwise.records[0].fingerprint["scorer"] != reference["scorer"]


def test_the_same_logs_are_the_same_run_and_stored_once(tmp_path: Path) -> None:
    place = log(tmp_path, [sample(1), sample(2)])
    run = read(place)
    assert run.id.startswith("20260131-142530-"), "when it was measured, in UTC"
    assert (run.started, run.finished) == ("2026-01-31T14:25:30+00:00", "2026-01-31T14:29:30+00:00")
    assert read(place).id == run.id
    assert read(place, reading=Reading(claim="foreign.other", gate=RateAtMost(0.1))).id != run.id
    history = History(str(tmp_path / "history"))
    history.write(run)
    assert history.read(run.id) == run
    with pytest.raises(AlignbenchError, match="is in the history already"):
        history.write(read(place))


# -- logs of our own


def test_a_log_of_our_own_keeps_its_conditions_pairs_and_families(project: Project) -> None:
    project.suite("difference()")
    project.pytest("--model", "simulated/effect-0.30")
    (measured,) = project.records().values()
    gate = gate_of(at_most=0.1, at_least=None, of="loud", over="quiet")
    run = read(*measured.logs, reading=Reading(claim="t.again", gate=gate))
    (record,) = run.records

    def places(rows: Any) -> list[tuple[object, ...]]:
        return sorted((o.condition, o.prompt, o.prompt_hash, o.pair, o.family, o.epoch, o.exhibits) for o in rows)

    assert places(record.observations) == places(measured.observations)
    assert judge(record).effect == judge(measured).effect
    assert Past.of(record, run="r").differs(measured.fingerprint) != [], "it is no measured record all the same"


def test_odd_texts_are_kept(tmp_path: Path) -> None:
    odd = 'NUL \x00, ESC \x1b[31m, override \u202e, line \u2028, quote " and \\'
    history = History(str(tmp_path / "history"))
    made = sample(1, input=odd, output=output(odd), metadata={"topic": odd})
    run = read(log(tmp_path, [made]), reading=Reading(claim="t.odd", gate=RateAtMost(0.1), family="topic"))
    history.write(run)
    (record,) = history.read(run.id).records
    (kept,) = record.observations
    assert (kept.family, kept.reply) == (odd, odd)


def test_a_strangers_metadata_under_our_name_is_theirs(tmp_path: Path) -> None:
    made = [sample(1, "I", metadata={"alignbench": "a word"}), sample(2, metadata={"alignbench": ["a", "list"]})]
    (record,) = read(log(tmp_path, made)).records
    assert [(o.prompt, o.condition, o.exhibits) for o in record.observations] == [
        ("1", "asked", True),
        ("2", "asked", False),
    ]


def test_a_grader_role_without_a_model_is_none(tmp_path: Path) -> None:
    (record,) = read(log(tmp_path, [sample(1)], model_roles={"grader": []})).records
    assert record.grader is None


def test_a_number_that_cannot_be_true_is_not_counted_to(tmp_path: Path) -> None:
    place = log(tmp_path, [sample(1)], config=EvalConfig(epochs=10**12))
    with pytest.raises(HistoryError, match="1 samples were asked 1,000,000,000,000 times: it lacks too many"):
        read(place)
