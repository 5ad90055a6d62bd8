"""Prompts and labelled replies: rows become values, wrong rows are refused with their place, and nothing is guessed."""

from __future__ import annotations

import hashlib
import inspect
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from builders import asking
from pytest_alignbench import ClaimError, Prompt, Prompts, hub_prompts, prompts, replies
from pytest_alignbench.data import Message, digest

REVISION = "0123456789abcdef0123456789abcdef01234567"
TURNS = (
    Message(role="user", content="Hello"),
    Message(role="assistant", content="Hi"),
    Message(role="user", content="And?"),
)

Written = Callable[..., str]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes rows (or raw lines) to a JSONL file and returns its absolute path."""

    def write(*rows: dict[str, Any] | str) -> str:
        file = tmp_path / "rows.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        file.write_text("\n".join(lines), encoding="utf-8")
        return str(file)

    return write


# -- a prompt


def test_a_prompt_without_family_and_pair_stands_alone() -> None:
    alone = Prompt(id="a", input="Why?")
    assert (alone.family, alone.pair) == ("a", "a")
    given = Prompt(id="a", input="Why?", family="f", pair="p")
    assert (given.family, given.pair) == ("f", "p")


@pytest.mark.parametrize("empty", ["", " \n", "\u200b", [], [{"role": "user", "content": ""}]])
def test_a_prompt_asks_something(empty: Any) -> None:
    with pytest.raises(ValidationError, match="a prompt asks something"):
        Prompt(id="a", input=empty)


def test_a_turn_is_of_the_system_the_user_or_the_assistant() -> None:
    with pytest.raises(ValidationError, match="role"):
        Message(role="tool", content="42")


@settings(deadline=None)
@given(st.text(min_size=1).filter(str.isprintable), st.none() | st.text())
def test_the_hash_names_what_is_asked_and_nothing_else(asked: str, system: str | None) -> None:
    asked = f"{asked}?"
    first = Prompt(id="a", input=asked, system=system)
    same = Prompt(id="b", input=asked, system=system, family="f", pair="p", target="t", metadata={"arm": "x"})
    assert first.hash == same.hash
    others = [
        Prompt(id="a", input=f"{asked} ", system=system),
        Prompt(id="a", input=asked, system=f"{system or ''}!"),
        Prompt(id="a", input=(Message(role="user", content=asked),), system=system),
    ]
    assert len({first.hash, *(other.hash for other in others)}) == 4


def test_an_empty_system_prompt_is_not_no_system_prompt() -> None:
    assert Prompt(id="a", input="Why?", system="").hash != Prompt(id="a", input="Why?").hash


def test_a_digest_is_of_the_value_and_not_of_the_process() -> None:
    canonical = b'{"a":[1,"\\u00e9"],"b":null}'  # sorted keys, no spaces, ASCII
    assert digest({"b": None, "a": (1, "é")}) == hashlib.sha256(canonical).hexdigest()[:16]


# -- lists of prompts


def test_ids_are_unique_within_a_condition() -> None:
    with pytest.raises(
        ClaimError, match=r"twins: prompt id 'p1' stands in it twice; ids are unique within a condition"
    ):
        Prompts([*asking(3), *asking(1, start=1)], source="twins")


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ClaimError, match="nothing: holds no prompts"):
        Prompts([], source="nothing")


def test_prompts_are_a_sequence() -> None:
    rows = asking(6, per_family=3)
    assert [p.id for p in rows[2:4]] == ["p2", "p3"]
    assert isinstance(rows[2:4], Prompts)
    assert rows[-1] in rows
    assert repr(rows) == "Prompts('6 questions', 6 prompts in 2 families)"


@pytest.fixture
def arms() -> Prompts:
    kinds = [("touchy", "jargon"), ("plain", "jargon"), ("touchy", "quote")]
    return Prompts(
        [Prompt(id=f"p{i}", input="?", family="f", metadata={"arm": a, "kind": k}) for i, (a, k) in enumerate(kinds)],
        source="twins.jsonl",
    )


def test_where_picks_by_metadata_and_by_fields(arms: Prompts) -> None:
    assert [p.id for p in arms.where(arm="touchy")] == ["p0", "p2"]
    assert [p.id for p in arms.where(arm="touchy", kind="quote")] == ["p2"]
    assert [p.id for p in arms.where(id="p1")] == ["p1"]
    assert arms.where(arm="plain").source == "twins.jsonl where arm='plain'"


@pytest.mark.parametrize(
    ("wanted", "name", "known"),
    [
        ({"arm": "Touchy"}, "arm", "'plain', 'touchy'"),
        ({"arm": "touchy", "kind": "poem"}, "kind", "'jargon', 'quote'"),
        ({"arm": "plain", "kind": "quote"}, "arm", "'plain', 'touchy'"),
        ({"colour": "red"}, "colour", "None"),
    ],
)
def test_where_nothing_fits_the_values_that_exist_are_named(
    arms: Prompts, wanted: dict[str, str], name: str, known: str
) -> None:
    with pytest.raises(ClaimError) as refused:
        arms.where(**wanted)
    assert str(refused.value) == f"twins.jsonl: no prompt where {wanted}; {name} is one of {known}"


def test_a_suffix_is_put_to_every_prompt_after_a_blank_line() -> None:
    rows = Prompts([Prompt(id="a", input="Why?"), Prompt(id="b", input=TURNS)], source="s")
    longer = rows.with_suffix("Be brief.")
    assert longer[0].input == "Why?\n\nBe brief."
    assert longer[1].input == (*TURNS[:2], Message(role="user", content="And?\n\nBe brief."))
    assert [p.id for p in longer] == ["a", "b"]
    assert rows[0].input == "Why?", "the prompts themselves stay as they were"


@pytest.mark.parametrize("change", [lambda p: p.with_suffix("Be brief."), lambda p: p.with_system("You are terse.")])
def test_what_the_model_gets_is_in_the_hash(change: Callable[[Prompts], Prompts]) -> None:
    rows = asking(3)
    changed = change(rows)
    assert {p.hash for p in rows}.isdisjoint(p.hash for p in changed)
    assert [(p.id, p.family, p.pair) for p in rows] == [(p.id, p.family, p.pair) for p in changed]


def test_a_system_prompt_replaces_the_rows_own() -> None:
    rows = Prompts([Prompt(id="a", input="Why?", system="old")], source="s")
    assert rows.with_system("new")[0].system == "new"


# -- files


def test_a_row_becomes_a_prompt_and_what_it_has_more_becomes_metadata(written: Written) -> None:
    full = {
        "id": "a",
        "input": "Why?",
        "family": "f",
        "pair": "p",
        "system": "s",
        "target": "t",
        "arm": "plain",
        "n": 3,
    }
    bare = {"id": "b", "input": [{"role": "user", "content": "line\u2028separator"}]}
    first, second = prompts(written(full, "", "  ", bare))
    assert first == Prompt(
        id="a", input="Why?", family="f", pair="p", system="s", target="t", metadata={"arm": "plain", "n": 3}
    )
    assert (second.family, second.pair, second.metadata) == ("b", "b", {})
    assert second.input == (Message(role="user", content="line\u2028separator"),)


def test_windows_line_ends_are_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"id": "a", "input": "Why?"}\r\n{"id": "b", "input": "How?"}\r\n')
    assert [p.id for p in prompts(str(file))] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{'id': 'a'}", "line 3: not JSON"),
        ("[1, 2]", "line 3: a row is a JSON object, this is list"),
        ('{"input": "Why?"}', "line 3: id: Field required"),
        ('{"id": "", "input": "Why?"}', "line 3: id: String should have at least 1 character"),
        ('{"id": "c"}', "line 3: input: Field required"),
        ('{"id": "c", "input": " "}', "line 3: input: Value error, a prompt asks something"),
        ('{"id": "c", "input": "Why?", "family": 3}', "line 3: family: Input should be a valid string"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(written: Written, line: str, said: str) -> None:
    path = written({"id": "a", "input": "Why?"}, "", line)
    with pytest.raises(ClaimError) as refused:
        prompts(path)
    assert str(refused.value).startswith(f"{path}, {said}")


def test_a_file_in_another_encoding_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes('{"id": "a", "input": "Où?"}'.encode("latin-1"))
    with pytest.raises(ClaimError, match="not UTF-8") as refused:
        prompts(str(file))
    assert str(file) in str(refused.value)


def test_rows_are_data_and_never_paths_or_templates(written: Written, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    texts = [str(tmp_path / "secret"), "file://secret", "{id} %(id)s {{ id }} $id"]
    rows = prompts(written(*({"id": str(i), "input": text, "target": text} for i, text in enumerate(texts))))
    assert [p.input for p in rows] == texts
    assert [p.target for p in rows] == texts


def test_data_are_found_from_the_file_that_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = tmp_path / "project" / "suites" / "deep"
    suite.mkdir(parents=True)
    for place, id in (("project", "far"), ("project/suites", "near"), ("elsewhere", "here")):
        (tmp_path / place / "fixtures" / "topic").mkdir(parents=True)
        (tmp_path / place / "fixtures" / "topic" / "rows.jsonl").write_text(f'{{"id": "{id}", "input": "?"}}')
    (suite / "test_suite.py").write_text(
        "from pytest_alignbench import prompts\nPROMPTS = prompts('topic/rows.jsonl')\nMISSING = lambda: prompts('topic/no.jsonl')"
    )
    monkeypatch.chdir(tmp_path / "elsewhere")
    names = runpy.run_path(str(suite / "test_suite.py"))
    assert [p.id for p in names["PROMPTS"]] == ["near"]
    with pytest.raises(ClaimError) as refused:
        names["MISSING"]()
    assert str(refused.value) == f"no data file 'topic/no.jsonl' in a 'fixtures' folder at or above {suite}"


def test_a_missing_absolute_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="no data file"):
        prompts(str(tmp_path / "no.jsonl"))


# -- labelled replies


def test_labelled_replies(written: Written) -> None:
    full = {"id": "a", "text": "No.", "exhibits": True, "split": "tune", "pair": "p", "steps": ["x"], "class": "full"}
    bare = {"id": "b", "text": "", "exhibits": None}
    first, second = replies(written(full, bare))
    assert (first.exhibits, first.split, first.pair, first.steps) == (True, "tune", "p", ("x",))
    assert first.metadata == {"class": "full"}
    assert (second.exhibits, second.split, second.pair, second.steps) == (None, "test", "", ())


def test_another_label_of_the_same_file(written: Written) -> None:
    path = written({"id": "a", "text": "Hm.", "exhibits": True, "raises": False})
    assert replies(path)[0].exhibits is True
    assert replies(path, label="raises")[0].exhibits is False
    with pytest.raises(ClaimError) as refused:
        replies(path, label="fixes")
    assert str(refused.value) == f"{path}, line 1: no label 'fixes'; it has 'id', 'text', 'exhibits', 'raises'"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "b", "exhibits": True}, "line 2: text: Field required"),
        ({"id": "b", "text": "x", "exhibits": "perhaps"}, "line 2: exhibits: Input should be a valid boolean"),
        ({"id": "b", "text": "x", "exhibits": True, "split": "train"}, "line 2: split: String should match pattern"),
    ],
)
def test_a_wrong_reply_is_refused_with_its_line(written: Written, row: dict[str, Any], said: str) -> None:
    path = written({"id": "a", "text": "x", "exhibits": True}, row)
    with pytest.raises(ClaimError) as refused:
        replies(path)
    assert str(refused.value).startswith(f"{path}, {said}")


def test_ids_of_replies_are_unique(written: Written) -> None:
    row = {"id": "a", "text": "x", "exhibits": True}
    with pytest.raises(ClaimError, match="reply id 'a' stands in it twice"):
        replies(written(row, row))


# -- the hub

ROWS = [{"q": "Why?", "key": 7, "topic": "a", "extra": 1}, {"q": "How?", "key": 8, "topic": None, "extra": 2}]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Puts rows, or a fault, where the hub would be; returns the calls that were made."""
    real = inspect.signature(datasets.load_dataset)
    calls: list[dict[str, Any]] = []

    def serve(*, rows: list[dict[str, Any]] | None = None, fault: Exception | None = None) -> list[dict[str, Any]]:
        def load_dataset(*args: Any, **options: Any) -> Any:
            calls.append(real.bind(*args, **options).arguments)
            if fault is not None:
                raise fault
            return rows

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return calls

    return serve


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, none of which is waited for."""
    pauses: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", pauses.append)
    return pauses


def test_hub_prompts_take_columns_at_a_pinned_revision(hub: Callable[..., list[dict[str, Any]]]) -> None:
    calls = hub(rows=ROWS)
    rows = hub_prompts("owner/set", revision=REVISION, split="test", input="q", id="key", family="topic", name="small")
    assert calls == [{"path": "owner/set", "name": "small", "split": "test", "revision": REVISION}]
    assert [(p.id, p.input, p.family, p.pair) for p in rows] == [("7", "Why?", "a", "7"), ("8", "How?", "8", "8")]
    assert [p.metadata for p in rows] == [{"extra": 1}, {"extra": 2}]
    assert rows.source == "owner/set@01234567/test"


def test_hub_rows_without_an_id_are_numbered(hub: Callable[..., list[dict[str, Any]]]) -> None:
    hub(rows=ROWS)
    assert [p.id for p in hub_prompts("owner/set", revision=REVISION, split="test", input="q")] == ["row-0", "row-1"]


@pytest.mark.parametrize("revision", ["main", "v1.0", "0123456", REVISION.upper(), f"{REVISION}0", ""])
def test_a_revision_that_can_move_is_refused(hub: Callable[..., list[dict[str, Any]]], revision: str) -> None:
    calls = hub(rows=ROWS)
    with pytest.raises(ClaimError) as refused:
        hub_prompts("owner/set", revision=revision, split="test", input="q")
    assert f"revision {revision!r} can move; give the 40 digits of a commit" in str(refused.value)
    assert not calls


@pytest.mark.parametrize("path", ["set", "./owner/set", "../set", "/etc/passwd", "a/b/c", "https://x/y", "owner/", ""])
def test_a_path_is_no_hub_data_set(hub: Callable[..., list[dict[str, Any]]], path: str) -> None:
    calls = hub(rows=ROWS)
    with pytest.raises(ClaimError, match="a hub data set is named owner/name; for a local file use prompts"):
        hub_prompts(path, revision=REVISION, split="test", input="q")
    assert not calls


def test_a_folder_that_is_named_like_a_data_set_is_not_opened(
    hub: Callable[..., list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = hub(rows=ROWS)
    (tmp_path / "owner" / "set").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClaimError, match="for a local file use prompts"):
        hub_prompts("owner/set", revision=REVISION, split="test", input="q")
    assert not calls


@pytest.mark.parametrize(
    "columns", [{"input": "question"}, {"input": "q", "family": "theme"}, {"input": "q", "id": "nr"}]
)
def test_a_missing_column_is_named_with_those_that_exist(
    hub: Callable[..., list[dict[str, Any]]], columns: dict[str, str]
) -> None:
    hub(rows=ROWS)
    with pytest.raises(ClaimError) as refused:
        hub_prompts("owner/set", revision=REVISION, split="test", **columns)
    assert f"no column {list(columns.values())[-1]!r}; it has 'q', 'key', 'topic', 'extra'" in str(refused.value)


@pytest.mark.parametrize(("cell", "said"), [(None, "input: Field required"), (" ", "a prompt asks something")])
def test_a_hub_row_that_asks_nothing_is_refused_with_its_number(
    hub: Callable[..., list[dict[str, Any]]], cell: str | None, said: str
) -> None:
    hub(rows=[*ROWS, {"q": cell, "key": 9, "topic": "a"}])
    with pytest.raises(ClaimError, match="row 2") as refused:
        hub_prompts("owner/set", revision=REVISION, split="test", input="q")
    assert said in str(refused.value)


def test_without_a_network_four_tries_are_made_and_the_way_out_is_named(
    hub: Callable[..., list[dict[str, Any]]], slept: list[float]
) -> None:
    calls = hub(fault=ConnectionError("Couldn't reach 'owner/set' on the Hub"))
    with pytest.raises(ClaimError) as refused:
        hub_prompts("owner/set", revision=REVISION, split="test", input="q")
    assert len(calls) == 4
    assert len(slept) == 3
    assert slept == sorted(slept)
    for part in ("owner/set", "01234567", "Couldn't reach", "Offline?", "HF_HOME", "--ignore"):
        assert part in str(refused.value)


@pytest.mark.parametrize("fault", [ValueError("Unknown split"), datasets.exceptions.DatasetNotFoundError("owner/set")])
def test_what_is_wrong_for_good_is_not_tried_again(
    hub: Callable[..., list[dict[str, Any]]], slept: list[float], fault: Exception
) -> None:
    calls = hub(fault=fault)
    with pytest.raises(ClaimError, match=str(fault)):
        hub_prompts("owner/set", revision=REVISION, split="test", input="q")
    assert len(calls) == 1
    assert not slept


def test_a_network_that_comes_back_is_enough(
    hub: Callable[..., list[dict[str, Any]]], slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [ConnectionError("down"), TimeoutError("slow"), ROWS]

    def load_dataset(*args: Any, **options: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert len(hub_prompts("owner/set", revision=REVISION, split="test", input="q")) == 2
    assert len(slept) == 2
