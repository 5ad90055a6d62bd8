"""History: what was written is what is read, whole or not at all, whatever happens meanwhile and whatever replies hold."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import random
import re
import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import observed, record, run
from kills import killed, together
from pytest_alignbench import HistoryError, RateAtMost
from pytest_alignbench.history import History, Past, Record, new_run_id

GATE = RateAtMost(0.05, of="asked")

HOSTILE = 'half an emoji \ud83d, NUL \x00, bell \x07, ESC \x1b[31m, override \u202e, separators \u2028\u2029\x85, quote " and \\'


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(str(tmp_path / "history"))


def files(history: History) -> list[Path]:
    """The runs' files, and whatever else there is beside the list of what git ignores."""
    return sorted(path for path in Path(history.url).rglob("*") if path.is_file() and path.name != ".gitignore")


def some(*, reply: str = "No.", claim: str = "tests.example") -> Record:
    return record(observed([True, False, None], reply=reply), gate=GATE, claim=claim)


# -- round trips


def test_a_run_is_read_as_it_was_written(history: History) -> None:
    past = Past.of(some(), run="before")
    whole = record(
        observed([True, None], label="partial", reason="it says so", served_model="small-2026", input_tokens=7),
        gate=GATE,
        served=("small-2026",),
        calibration={"tp": 1, "fn": 2, "tn": 3, "fp": 4},
        grader="other/large",
        baseline=past,
        margin=0.05,
        logs=("logs/a.eval",),
        fault="it broke",
    )
    written = run("20260131-142530-0000", whole, some()).model_copy(
        update={"complete": False, "versions": {"python": "3.11"}}
    )
    history.write(written)
    assert history.read(written.id) == written


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters()), max_size=4))
def test_no_reply_is_too_odd_to_be_kept(replies: list[str]) -> None:
    history = History(f"memory://odd-{secrets.token_hex(8)}")
    written = run("odd", *(some(reply=reply) for reply in [*replies, HOSTILE]))
    history.write(written)
    assert history.read("odd") == written


def test_a_file_is_gzipped_json_that_other_tools_can_read(history: History) -> None:
    path = history.write(run("a", some(reply=HOSTILE)))
    content = json.loads(gzip.decompress(Path(path).read_bytes()).partition(b"\n")[2])
    assert content["records"][0]["observations"][0]["reply"] == HOSTILE


@pytest.mark.parametrize("place", ["memory://history-of-tests", "file://{}/deep/history", "{}/history"])
def test_a_history_is_a_folder_or_a_url(tmp_path: Path, place: str) -> None:
    url = place.format(tmp_path)
    assert History(url).runs() == []
    History(url).write(run("a", some()))
    assert History(url).runs() == ["a"]
    assert History(url).read("latest") == run("a", some())
    assert History(url).logs("a") == f"{url}/logs/a"


@pytest.mark.parametrize("url", ["carrier-pigeon://coop/history", "gdrive://not/installed"])
def test_a_store_that_cannot_be_opened_is_refused_by_its_url(url: str) -> None:
    with pytest.raises(HistoryError) as refused:
        History(url)
    assert str(refused.value).startswith(f"history {url!r}: ")


# -- one file per run, written once


def test_a_run_is_never_written_again(history: History) -> None:
    history.write(run("a", some()))
    before = Path(history.url, "runs", "a.json.gz").read_bytes()
    with pytest.raises(HistoryError, match="run a is in the history already; a record is never changed"):
        history.write(run("a", some(reply="Another.")))
    assert Path(history.url, "runs", "a.json.gz").read_bytes() == before


def test_writing_adds_one_file_and_reading_none(history: History) -> None:
    assert history.runs() == []
    assert not Path(history.url).exists()
    history.write(run("a", some()))
    history.read("latest")
    assert [path.name for path in files(history)] == ["a.json.gz"]


def test_the_folder_says_which_of_it_is_not_for_git_and_never_again(history: History) -> None:
    history.write(run("a", some()))
    ignored = Path(history.url, ".gitignore")
    rules = [line for line in ignored.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert rules == ["/logs/", "/index/", "/unfinished/", "/quarantine/", ".*.part"]
    ignored.write_text("*\n")
    history.write(run("b", some()))
    assert ignored.read_text("utf-8") == "*\n", "what the user put there stays"
    ignored.unlink()
    History("memory://nothing-for-git").write(run("a", some()))


def test_git_takes_the_records_and_leaves_logs_and_index(history: History) -> None:
    root = Path(history.url)
    history.write(run("a", some()))
    for name in (
        "logs/a/a.eval",
        "index/a.json.gz",
        "unfinished/a/b.jsonl",
        "quarantine/b.gz",
        "runs/.b.json.gz.1.part",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    git = ["git", "-C", str(root)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    listed = subprocess.run([*git, "ls-files"], check=True, capture_output=True, text=True).stdout
    assert listed.split() == [".gitignore", "runs/a.json.gz"]


def test_a_file_is_stamped_by_what_the_store_says_of_it(history: History) -> None:
    for place in (history, History("memory://stamped")):
        assert place.stamps() == {}
        place.write(run("b", some()))
        place.write(run("a", some()))
        before = place.stamps()
        assert list(before) == ["a", "b"]
        assert place.stamps() == before
        place._fs.pipe_file(f"{place._root}/runs/a.json.gz", b"other")
        after = place.stamps()
        assert (after["a"] != before["a"], after["b"] == before["b"]) == (True, True)


def test_a_listing_is_not_empty_because_a_file_went_away_meanwhile(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.write(run("a", some()))
    listed = history._fs.ls
    failing = [FileNotFoundError("removed between its name and its size")] * 3

    def ls(path: str, detail: bool = True) -> object:
        if failing:
            raise failing.pop()
        return listed(path, detail=detail)

    monkeypatch.setattr(history._fs, "ls", ls)
    assert history.runs() == ["a"]
    failing.extend([FileNotFoundError("and again")] * 99)
    with pytest.raises(HistoryError, match="changes faster than it can be listed"):
        history.runs()


def test_a_run_is_removed_with_its_logs_and_others_are_not(history: History) -> None:
    for id in ("a", "b"):
        history.write(run(id, some()))
        log = Path(history.url, "logs", id, "x.eval")
        log.parent.mkdir(parents=True)
        log.write_text("x" * 1_000)
    assert history.size("a") > 1_000
    history.remove("a")
    history.remove("a")
    history.remove("never there")
    assert history.runs() == ["b"]
    assert [path.name for path in files(history)] == ["x.eval", "b.json.gz"]
    assert history.size("a") == 0


def test_a_group_is_removed_with_all_its_shards(history: History) -> None:
    for shard in ("20260101-000000-aa.1of2.pr", "20260101-000001-aa.2of2.pr"):
        history.write(run(shard, some()))
    (group,) = history.runs()
    log = Path(history.logs(group), "x.eval")
    log.parent.mkdir(parents=True)
    log.write_text("x")
    history.remove(group)
    assert files(history) == []


def test_ids_sort_by_time_and_differ_within_a_second() -> None:
    ids = [new_run_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert all(re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{8}", id) for id in ids)
    assert ids[0][:15] <= time.strftime("%Y%m%d-%H%M%S", time.gmtime())


# -- names of runs


def test_runs_are_found_by_id_by_a_unique_beginning_and_as_the_latest(history: History) -> None:
    for id in ("20260102-000000-aa", "20260101-000000-ab", "20260101-000000-ac", "20260101-000000"):
        history.write(run(id))
    assert history.runs()[-1] == history.read("latest").id == "20260102-000000-aa"
    assert history.read("20260101-000000-ab").id == "20260101-000000-ab"
    assert history.read("20260102").id == "20260102-000000-aa"
    assert history.read("20260101-000000").id == "20260101-000000", "a whole id is no beginning"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("2026", "begins 2 runs"),
        ("1999", "is not among the 2 runs"),
        ("", "begins 2 runs"),
        ("20260101-ab", "is not among"),
    ],
)
def test_a_name_that_fits_several_runs_or_none_is_refused(history: History, name: str, said: str) -> None:
    for id in ("20260101-000000-aa", "20260101-000000-bb"):
        history.write(run(id))
    with pytest.raises(HistoryError) as refused:
        history.read(name)
    assert str(refused.value).startswith(f"run {name!r} {said}")
    assert "`alignbench history list` names them" in str(refused.value)


def test_an_empty_history_has_no_latest_run(history: History) -> None:
    with pytest.raises(HistoryError, match="run 'latest' is not among the 0 runs"):
        history.read("latest")


def test_other_files_are_no_runs(history: History) -> None:
    history.write(run("a"))
    for name in ("notes.txt", ".a.json.gz.123.part", "b.json"):
        Path(history.url, "runs", name).write_text("x")
    assert history.runs() == ["a"]


# -- files that are not what was written


def damaged(history: History, change: Callable[[bytes], bytes]) -> None:
    path = Path(history.write(run("a", some())))
    path.write_bytes(change(path.read_bytes()))


def reworded(packed: bytes) -> bytes:
    return gzip.compress(gzip.decompress(packed).replace(b'"No."', b'"Yes"'))


def of_another_format(packed: bytes) -> bytes:
    body = gzip.decompress(packed).partition(b"\n")[2].replace(b'"format": 1', b'"format": 2')
    return gzip.compress(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (reworded, "its content does not match its checksum"),
        (lambda packed: packed[: len(packed) // 2], ""),
        (lambda packed: b"", ""),
        (lambda packed: b"not gzip at all", "gzip"),
        (lambda packed: gzip.compress(b"no checksum"), "its content does not match its checksum"),
        (of_another_format, "format"),
    ],
)
def test_a_damaged_file_is_refused(history: History, change: Callable[[bytes], bytes], said: str) -> None:
    damaged(history, change)
    with pytest.raises(HistoryError, match=f"run a in .* cannot be read: .*{said}"):
        history.read("a")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_flipped_byte_goes_unseen(data: st.DataObject) -> None:
    history = History(f"memory://flipped-{secrets.token_hex(8)}")
    written = run("a", some())
    path = history.write(written)
    packed = bytearray(history._fs.cat_file(path))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    history._fs.pipe_file(path, bytes(packed))
    try:
        read = history.read("a")
    except HistoryError:
        return
    assert read == written  # gzip's header has bytes that mean nothing


# -- what goes wrong while writing


@pytest.mark.parametrize("call", ["fsync", "open"])
def test_a_full_disk_leaves_no_half_file(history: History, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*args: object, **options: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    history.write(run("before", some()))
    with monkeypatch.context() as patched:
        if call == "fsync":
            patched.setattr(os, "fsync", full)
        else:
            patched.setattr(Path, "open", full)
        with pytest.raises(HistoryError, match=r"run a could not be stored in .*No space left on device"):
            history.write(run("a", some()))
    assert [path.name for path in files(history)] == ["before.json.gz"]
    history.write(run("a", some()))
    assert history.runs() == ["a", "before"]


def test_a_file_where_the_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("a file")
    with pytest.raises(HistoryError, match="run a could not be stored"):
        History(str(tmp_path / "history")).write(run("a"))


def _write_25(url: str, writer: int) -> None:
    for number in range(25):
        History(url).write(run(new_run_id(), some(claim=f"tests.{writer}-{number}")))


def test_eight_writers_at_once_lose_nothing(history: History) -> None:
    together(_write_25, history.url, writers=8)
    stored = [history.read(id).records[0].claim for id in history.runs()]
    assert sorted(stored) == sorted(f"tests.{writer}-{number}" for writer in range(8) for number in range(25))


def _write_without_end(url: str, acknowledge: Callable[[str], None]) -> None:
    large = some(reply="".join(random.choices("abcdefgh", k=2_000)))
    while True:
        id = new_run_id()
        History(url).write(run(id, large))
        acknowledge(id)


def test_writers_killed_at_any_moment_lose_nothing_and_leave_nothing_half_read(history: History) -> None:
    chance = random.Random(7)
    kills = 60
    acknowledged = [
        id for _ in range(kills) for id in killed(_write_without_end, history.url, after=chance.uniform(0, 0.05))
    ]
    stored = history.runs()
    assert set(acknowledged) <= set(stored)
    assert len(stored) <= len(acknowledged) + kills, "at most one that was stored and not yet said"
    for id in stored:
        assert len(history.read(id).records[0].observations) == 3
    torn = [file for file in files(history) if file.name.endswith(".part")]
    print(
        f"{kills} kills, {len(torn)} of them in the middle of a file: {len(acknowledged)} acknowledged, {len(stored)} read"
    )


# -- what a baseline keeps


def test_the_past_of_a_record_holds_no_text(history: History) -> None:
    rows = [
        o.model_copy(update={"epoch": e}) for e in (2, 1) for o in observed([True, None] if e == 1 else [False, None])
    ]
    past = Past.of(record(rows, gate=GATE), run="r")
    assert past.source == "small in run r"
    assert past.conditions == {"asked": {"hash of p0": "10", "hash of p1": "xx"}}
    assert past.means == {("asked", "hash of p0"): 0.5}


def test_what_differs_between_two_fingerprints_is_named() -> None:
    past = Past.of(record([], gate=GATE, fingerprint={"prompts": "a", "solver": "b", "old": "c"}), run="r")
    assert past.differs({"prompts": "a", "solver": "b", "old": "c"}) == []
    assert past.differs({"prompts": "x", "solver": "b", "new": "d"}) == ["prompts", "new", "old"]
