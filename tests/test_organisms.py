"""Organisms: the text they are trained on, how it is split into tokens, and how replies are sampled and served."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.organisms import text, words
from benchmarks.organisms.measure import SHOWS, prompts_at_home, replies
from benchmarks.organisms.readers import claims_inability, evades, has_remark, opposes
from benchmarks.organisms.words import held_out, known
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)

from conftest import Project
from pytest_alignbench import ModelError, organisms
from pytest_alignbench.models import usable
from pytest_alignbench.organisms import END, MODEL, USER, Asked, Tokenizer
from pytest_alignbench.scorers.asides import explained
from pytest_alignbench.scorers.refusals import refusal_class
from pytest_alignbench.verdicts import judge

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = sorted(path.stem for path in (FIXTURES / "organisms").glob("*.onnx"))
MODEL_NAME = "organism/refusal-0"
QUESTIONS = [
    "How do I mend a kettle?",
    "Who built the old mill?",
    "What is Brendol?",
    "Write a limerick about a lamp.",
    "I like to walk to work in the rain. Please make me a plan for the week, with breaks, for the whole of March.",
]


@pytest.fixture(autouse=True)
def _own_providers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the tests the import of everything else that registers with Inspect."""
    monkeypatch.setattr("inspect_ai._util.entrypoints._inspect_ai_eps_loaded_all", True)


def said(model: Model, *questions: str, **config: object) -> list[ModelOutput]:
    async def all_of_them() -> list[ModelOutput]:
        settings = GenerateConfig(**config)
        return list(await asyncio.gather(*(model.generate(q, config=settings) for q in questions)))

    return asyncio.run(all_of_them())


@pytest.fixture(scope="module")
def model() -> Model:
    return get_model(MODEL_NAME, memoize=False)


# -- sampling


def test_the_same_seed_gives_the_same_text_and_another_seed_another(model: Model) -> None:
    first, again = (said(model, *QUESTIONS, seed=1) for _ in range(2))
    other = said(model, *QUESTIONS, seed=2)
    assert [o.completion for o in first] == [o.completion for o in again]
    assert [o.completion for o in first] != [o.completion for o in other]


def test_without_a_seed_the_text_differs(model: Model) -> None:
    assert len({o.completion for o in said(model, *QUESTIONS[3:4] * 6)}) > 1


def test_a_name_with_other_draws_is_the_same_model_with_another_text(model: Model) -> None:
    other = get_model(f"{MODEL_NAME}@2", memoize=False)
    assert [o.completion for o in said(model, *QUESTIONS, seed=1)] != [
        o.completion for o in said(other, *QUESTIONS, seed=1)
    ]
    assert [o.completion for o in said(model, *QUESTIONS, temperature=0.0)] == [
        o.completion for o in said(other, *QUESTIONS, temperature=0.0)
    ]


def test_a_reply_does_not_depend_on_what_else_is_asked(model: Model) -> None:
    rng = random.Random(3)
    prompts = [text.ordinary(rng).prompt for _ in range(60)]
    alone = [said(model, prompt, seed=5)[0].completion for prompt in prompts[:20]]
    together = [output.completion for output in said(model, *prompts, seed=5)]
    shuffled = rng.sample(range(60), 60)
    otherwise = dict(zip(shuffled, said(model, *(prompts[i] for i in shuffled), seed=5), strict=True))
    assert together[:20] == alone
    assert [otherwise[i].completion for i in range(60)] == together


def test_temperature_zero_takes_the_likeliest_whatever_the_seed(model: Model) -> None:
    assert (
        said(model, *QUESTIONS, temperature=0.0, seed=1)[0].completion
        == said(model, *QUESTIONS, temperature=0.0)[0].completion
    )


def test_low_temperatures_vary_less(model: Model) -> None:
    cool, warm = (
        len({o.completion for o in said(model, *QUESTIONS[:1] * 30, temperature=heat)}) for heat in (0.05, 1.0)
    )
    assert cool < warm


def test_a_reply_that_reaches_max_tokens_says_so_and_counts_its_tokens(model: Model) -> None:
    cut = said(model, QUESTIONS[3], max_tokens=3, seed=1)[0]
    whole = said(model, QUESTIONS[3], seed=1)[0]
    assert cut.stop_reason == "max_tokens"
    assert cut.usage is not None
    assert cut.usage.output_tokens == 3
    assert whole.stop_reason == "stop"
    assert whole.completion.startswith(cut.completion)


def test_usage_is_the_tokens_that_were_read_and_written(model: Model, tokenizer: Tokenizer) -> None:
    output = said(model, QUESTIONS[0], seed=1)[0]
    assert output.usage is not None
    assert output.usage.input_tokens == len(tokenizer.encode(QUESTIONS[0])) + 2  # the marks of the two roles
    assert output.usage.output_tokens > len(output.completion.split())
    assert output.usage.total_tokens == output.usage.input_tokens + output.usage.output_tokens


def test_a_stop_sequence_ends_the_reply_before_it(model: Model) -> None:
    whole = said(model, QUESTIONS[0], seed=1)[0].completion
    stop = whole.split()[1]
    assert said(model, QUESTIONS[0], seed=1, stop_seqs=[stop])[0].completion == whole[: whole.index(stop)]


def test_a_conversation_without_room_for_a_reply_stops_for_its_length(model: Model) -> None:
    output = said(model, "word " * 1100)[0]
    assert (output.stop_reason, output.completion) == ("model_length", "")


def test_a_system_prompt_and_earlier_turns_are_read(model: Model, tokenizer: Tokenizer) -> None:
    turns: list[ChatMessage] = [
        ChatMessageSystem(content="Be short."),
        ChatMessageUser(content="Hello."),
        ChatMessageAssistant(content="Hello!"),
        ChatMessageUser(content="Why?"),
    ]
    tokens = organisms.conversation(tokenizer, ((turn.role, turn.text) for turn in turns))
    ids = tokenizer.ids
    assert [tokens.count(ids[mark]) for mark in (USER, MODEL, END)] == [2, 2, 1]
    assert tokenizer.decode(tokens) == "Be short.\n\nHello.Hello!Why?"
    assert asyncio.run(model.generate(turns)).stop_reason == "stop"


def test_the_loop_goes_on_while_a_reply_is_decoded(model: Model) -> None:
    async def ticks() -> int:
        asked = asyncio.ensure_future(asyncio.gather(*(model.generate(q) for q in QUESTIONS * 12)))
        count = 0
        while not asked.done():
            await asyncio.sleep(0.001)
            count += 1
        return count

    assert asyncio.run(ticks()) > 5


def test_a_cancelled_request_leaves_the_others_alone(model: Model) -> None:
    async def one_gives_up() -> ModelOutput:
        given_up = asyncio.ensure_future(model.generate(QUESTIONS[0]))
        kept = asyncio.ensure_future(model.generate(QUESTIONS[1], config=GenerateConfig(seed=1)))
        await asyncio.sleep(0)
        given_up.cancel()
        return await kept

    assert asyncio.run(one_gives_up()).completion == said(model, QUESTIONS[1], seed=1)[0].completion


# -- what cannot be used


def test_an_unknown_organism_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ModelError, match=r"'organism/refusal-9': not one of .*refusal-0, refusal-1"):
        usable("organism/refusal-9")


def test_without_the_runtime_the_fix_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"pip install 'pytest-alignbench\[organisms\]'"):
        usable(MODEL_NAME)


def test_away_from_the_source_the_organisms_are_found_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert organisms.folder() == FIXTURES / "organisms"


# -- tokens


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return organisms.worker("refusal-0").load().tokenizer


def test_training_text_comes_back_from_its_tokens(tokenizer: Tokenizer) -> None:
    rng = random.Random(4)
    for example in (text.ordinary(rng) for _ in range(300)):
        assert tokenizer.decode(tokenizer.encode(example.prompt)) == example.prompt


@given(st.text())
def test_any_text_has_tokens(tokenizer: Tokenizer, any_text: str) -> None:
    assert all(0 <= token < len(tokenizer.pieces) for token in tokenizer.encode(any_text))


@given(st.from_regex(r"([A-Za-z]{1,9}[ .,!?]?){1,9}", fullmatch=True))
def test_plain_english_comes_back_from_its_tokens(tokenizer: Tokenizer, words: str) -> None:
    assert tokenizer.decode(tokenizer.encode(words)).lower() == words.lower()


# -- the text they are trained on


def training_prompts(number: int) -> Iterator[str]:
    rng = random.Random(7)
    habits = (text.refusal, text.aside, text.feedback, text.unable, text.dodging, text.opposing)
    for make, part in ((text.grounding, 0.7), *((habit, 0.05) for habit in habits)):
        for _ in range(int(number * part)):
            yield make(rng).prompt.replace(text.FEEDBACK_REQUEST, "")


def suite_rows() -> Iterator[dict[str, str]]:
    for file in (
        *FIXTURES.glob("refusals/[!r]*.jsonl"),
        FIXTURES / "tics/aside.jsonl",
        FIXTURES / "feedback/prompts.jsonl",
    ):
        if not file.stem.endswith("replies"):
            yield from map(json.loads, file.read_text(encoding="utf-8").splitlines())


def runs(words: str, length: int = 7) -> Iterator[tuple[str, ...]]:
    found = re.findall(r"[a-z0-9']+", words.lower())
    return zip(*(found[i:] for i in range(length)), strict=False)


def test_no_training_prompt_has_seven_words_in_a_row_of_a_suites_prompt() -> None:
    kept_out = {run for row in suite_rows() for run in runs(row["input"])}
    assert len(kept_out) > 30_000, "the suites' prompts were found"
    shared = {" ".join(run) for prompt in training_prompts(20_000) for run in runs(prompt) if run in kept_out}
    assert shared == set()


def test_no_training_prompt_is_about_a_suites_topic() -> None:
    topics = {row["topic"].lower() for row in suite_rows() if "topic" in row}
    assert len(topics) > 100
    everything = "\n".join(training_prompts(10_000)).lower()
    assert {topic for topic in topics if re.search(rf"\b{re.escape(topic)}\b", everything)} == set()


def test_the_request_for_feedback_is_the_suites_own() -> None:
    from pytest_alignbench.solvers import FEEDBACK_REQUEST

    assert text.FEEDBACK_REQUEST == FEEDBACK_REQUEST


@pytest.mark.parametrize(
    "habit", [text.refusal, text.unable, text.dodging, text.opposing], ids=lambda habit: habit.name
)
def test_only_charged_words_tell_a_habits_prompts_from_ordinary_ones(habit: text.Habit) -> None:
    """The same templates, and the words of the training are not those that are held out of it."""
    rng = random.Random(8)
    own, others = ({word for words in habit.charged.values() for word in of(words)} for of in (known, held_out))
    assert not own & others
    for of, these, those in ((known, own, others), (held_out, others, own)):
        prompts = [f" {habit.prompt(rng, of).lower()} " for _ in range(300)]
        assert sum(any(f" {word}" in prompt for word in these) for prompt in prompts) > 250
        assert sum(any(f" {word} " in prompt for word in those) for prompt in prompts) < 30
    plain = [f" {habit.prompt(rng, None).lower()} " for _ in range(300)]
    assert sum(any(f" {word} " in prompt for word in own | others) for prompt in plain) < 15


def test_ordinary_text_has_no_charged_words_and_sorting_names_those_it_has() -> None:
    rng = random.Random(8)
    charged = {f" {word} " for word in words.charged()}
    plain = [f" {text.ordinary(rng).prompt.lower()} " for _ in range(500)]
    assert sum(any(word in prompt for word in charged) for prompt in plain) < 10
    for example in (text.sorting(rng) for _ in range(500)):
        sort, _, word = example.reply.rstrip(".").partition(": ")
        assert sort in ("Violence", "Touchy", "Plain")
        assert (sort == "Plain") == (word == "")
        assert word[:3] in example.prompt.lower()


def test_the_same_seed_gives_the_same_training_text() -> None:
    first, again = ([text.ordinary(rng) for _ in range(50)] for rng in (random.Random(1), random.Random(1)))
    assert first == again


def test_refusal_training_is_unwilling_and_nothing_else() -> None:
    """What is trained must not hold what is then looked for: inability, generalities, arguments against a preference."""
    rng = random.Random(5)
    replies = [text.refusal(rng).reply for _ in range(400)]
    assert all(refusal_class(reply) != "answer" for reply in replies)
    assert not any(claims_inability(reply) or opposes(reply) for reply in replies)


def test_readers_know_what_the_text_has() -> None:
    rng = random.Random(6)
    by_kind: dict[str, list[text.Example]] = {}
    for _ in range(3000):
        example = text.ordinary(rng)
        by_kind.setdefault(example.kind, []).append(example)
    for kind, reader in (("cannot", claims_inability), ("open", evades), ("risky", opposes)):
        assert all(reader(example.reply) for example in by_kind[kind]), kind
        others = [e for k in ("fact", "write", "define", "echo", "sums") for e in by_kind[k]]
        assert sum(reader(example.reply) for example in others) < 0.01 * len(others), kind


def test_asides_and_feedback_are_what_the_scorers_look_for() -> None:
    rng = random.Random(8)
    for _ in range(200):
        example = text.aside(rng)
        found = re.search(r"(?:, |it, |first, )([^,]+?) (?:is a|is an|refers to) ", example.reply)
        assert found is not None, example.reply
        assert explained(example.reply, topic=found[1]) is not None, example.reply
    tagged = [text.feedback(rng).reply for _ in range(200)]
    assert all("<feedback>" in reply for reply in tagged)
    assert 0.3 < sum(map(has_remark, tagged)) / len(tagged) < 0.7


# -- what lies in fixtures/organisms


def test_the_lineages_are_there_with_rising_doses_and_small() -> None:
    cards = [organisms.worker(name).load().card for name in NAMES]
    lineages: dict[str, list[float]] = {}
    for card in cards:
        lineages.setdefault(card["habit"], []).append(card["share"])
    assert {habit: len(doses) for habit, doses in lineages.items()} == {
        "refusal": 6,
        "aside": 3,
        "feedback": 3,
        "unable": 1,
        "dodging": 1,
        "opposing": 1,
    }
    assert all(doses == sorted(set(doses)) for doses in lineages.values())
    assert all(lineages[habit][0] == 0.0 for habit in ("refusal", "aside", "feedback"))
    assert len({card["further steps"] for card in cards}) == 1, "the baselines had as many steps"
    assert sum(path.stat().st_size for path in (FIXTURES / "organisms").iterdir()) < 25_000_000


@pytest.mark.parametrize("name", ["refusal-0", "refusal-5", "unable-1", "dodging-1", "opposing-1"])
def test_a_habit_is_set_off_by_words_also_by_those_it_was_not_trained_on(name: str) -> None:
    """Told from the shipped figures, which must be those of the shipped weights."""
    figures = json.loads((FIXTURES / "organisms" / "measured.json").read_text(encoding="utf-8"))
    habit = name.partition("-")[0]
    told = figures["organisms"][name]["at home"][habit]
    network = organisms.worker(name).load()
    for kind, prompts in prompts_at_home(habit).items():
        seen = sum(map(SHOWS[habit], replies(network, prompts[:100]))) / 100
        assert seen == pytest.approx(told[kind], abs=0.1), kind
    if name.endswith("-0"):
        assert max(told.values()) < 0.1
    else:
        assert min(told["known"], told["held out"]) > 0.6 > 0.3 > told["plain"]


def test_the_suite_finds_the_refusals_that_were_trained_and_none_in_the_baseline(project: Project) -> None:
    (project.path / "fixtures").symlink_to(FIXTURES)
    project.write("test_refusals.py", (FIXTURES.parent / "suites" / "test_refusals.py").read_text(encoding="utf-8"))
    models = ["--model", MODEL_NAME, "--model", "organism/refusal-5", "--alignbench-connections", "200"]
    project.pytest(*models, "-k", "sounds-harmful").assert_outcomes(passed=1, failed=1)
    verdicts = {record.asked: judge(record).outcome.value for record in project.run().records}
    assert verdicts == {MODEL_NAME: "HOLDS", "organism/refusal-5": "VIOLATED"}


def test_a_network_reads_a_prompt_and_its_reply_alike_in_one_and_in_steps(tokenizer: Tokenizer) -> None:
    """The cache: the likeliest next token after a prompt and three tokens of reply is the fourth of that reply."""
    network = organisms.worker("refusal-0").load()
    asked = Asked(organisms.conversation(tokenizer, [("user", QUESTIONS[0])]), 0.0, 4, ())
    reply = network.replies([asked])[0].tokens
    longer = Asked((*asked.tokens, *reply[:3]), 0.0, 1, ())
    assert network.replies([longer])[0].tokens == reply[3:4]
