"""`alignbench history`: what is stored, what comes in, what may go and what is damaged; nothing goes unasked."""

from __future__ import annotations

import errno
import gzip
import json
import multiprocessing
import os
import random
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from builders import counted, observed, record, run
from histories import Story, write
from inspecting import evaluated
from pytest_alignbench import HistoryError, RateAtMost
from pytest_alignbench.cli import main
from pytest_alignbench.history import History, Record
from pytest_alignbench.index import Index

GATE = RateAtMost(0.1, of="asked")


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table is a table however long the names of temporary folders are."""
    monkeypatch.setenv("COLUMNS", "400")


def alignbench(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """The history of the project that the commands run in, whose lineage is v1, v2, v3."""
    (tmp_path / "pyproject.toml").write_text('[tool.alignbench.lineages]\nv = ["v1", "v2", "v3"]\n')
    monkeypatch.chdir(tmp_path)
    return History(str(tmp_path / ".alignbench"))


def some(**changed: Any) -> Record:
    return record(observed(counted(hits=0, n=60)), gate=GATE, **changed)


def measured(store: History, *models: str, missing: str | None = None) -> list[str]:
    """A run a day, of these models, with a log each."""
    truth = {model: None if model == missing else 0.05 for model in models}
    runs = write(store, [Story("t.a", truth, prompts=20)], models)
    for id in runs:
        place = Path(store.url, "logs", id, "a.eval")
        place.parent.mkdir(parents=True)
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("header.json", "{}" * 500)
    return runs


# -- list and show


def test_list_says_of_each_run_what_it_holds(store: History) -> None:
    measured(store, "v1", "v2", missing="v2")
    store.write(run("20270101-000000-aa", some(asked="x"), some(asked="y")).model_copy(update={"complete": False}))
    listed = alignbench("history", "list")
    assert listed.exit_code == 0
    title, heads, *rows = listed.output.splitlines()
    assert title == "history .alignbench: 3 runs"
    assert heads.split() == ["run", "started", "records", "models", "verdicts", "state"]
    assert [line.split()[0] for line in rows] == store.runs()
    assert "2026-01-05 03:00  1        v1" in rows[0]
    assert "1 ERROR" in rows[1]
    assert rows[2].endswith("2        x, y    2 HOLDS         incomplete")
    rows_ = json.loads(alignbench("history", "list", "--format", "json").output)
    assert (rows_["kind"], [row["run"] for row in rows_["runs"]]) == ("history", store.runs())
    assert "| 20270101-000000-aa |" in alignbench("history", "list", "--format", "markdown").output.replace("**", "")


def test_list_is_made_from_the_index(store: History, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(store, "v1", "v2")
    first = alignbench("history", "list").output
    monkeypatch.setattr(History, "read", lambda *args: pytest.fail("a run was read"))
    assert alignbench("history", "list").output == first


def test_list_names_what_it_cannot_read_and_lists_the_rest(store: History) -> None:
    first, second = measured(store, "v1", "v2")
    Path(store.url, "runs", f"{first}.json.gz").write_bytes(b"damaged")
    listed = alignbench("history", "list")
    assert listed.exit_code == 0
    assert second in listed.output
    assert f"run {first} in " in listed.output
    assert "cannot be read" in listed.output


def test_an_empty_history_is_no_error(store: History) -> None:
    assert alignbench("history", "list").output == "history .alignbench: 0 runs\n"


def test_show_says_where_a_run_came_from(store: History) -> None:
    (id,) = measured(store, "v1")
    stored = store.read(id)
    text = alignbench("history", "show").output
    assert text.startswith(f"run {id}: 1 record, ")
    for said in (stored.started, "inspect-ai 0.3.285", f"logs in {store.logs(id)}", "v1 (acme/v1)", "20 of 20 scored"):
        assert said in text
    shape = json.loads(alignbench("history", "show", id, "--format", "json").output)
    assert (shape["kind"], shape["run"], shape["imported"]) == ("stored-run", id, [])
    assert shape["records"][0]["fingerprint"] == stored.records[0].fingerprint
    assert shape["size"] > 1_000
    assert alignbench("history", "show", "nosuch").exit_code == 2


def test_show_names_faults_and_what_it_was_compared_with(store: History) -> None:
    store.write(run("20270101-000000-aa", some(fault="503"), some(claim="t.early", stopped_at=2, looks=5)))
    text = alignbench("history", "show").output
    assert "    503\n" in text
    assert "stopped early, at look 2 of 5" in text


# -- import


def test_import_makes_a_run_of_logs_and_says_so(store: History, tmp_path: Path) -> None:
    place = evaluated(tmp_path / "theirs")
    asked = ("--claim", "foreign.wrong", "--at-most", "0.3", "--scorer", "includes", "--exhibits", "I")
    done = alignbench("history", "import", place, *asked, "--family", "topic", "--statement", "It can count")
    assert done.exit_code == 0, done.output
    (id,) = store.runs()
    assert done.output.startswith(f"imported as run {id}\n")
    assert "HOLDS    foreign.wrong  mockllm/scripted  5.0 [" in done.output
    (kept,) = store.read(id).records
    assert (kept.statement, kept.alpha, kept.m) == ("It can count", 0.05, 1)
    assert f"imported from {place}" in alignbench("history", "show").output
    assert alignbench("history", "list").output.rstrip().endswith("imported")
    assert Index(store).entries()[0].imported
    again = alignbench("history", "import", place, *asked, "--family", "topic", "--statement", "It can count")
    assert (again.exit_code, again.output) == (2, again.output)
    assert "is in the history already" in again.output
    assert store.runs() == [id]


def test_an_imported_run_is_not_compared_with_a_measured_one(store: History, tmp_path: Path) -> None:
    measured(store, "v1")
    place = evaluated(tmp_path / "theirs", name="v2")
    asked = ("--claim", "t.a", "--at-most", "0.3", "--scorer", "includes", "--exhibits", "I")
    assert alignbench("history", "import", place, *asked).exit_code == 0
    compared = alignbench("compare", "v1", "mockllm/v2")
    assert "NOT_COMPARABLE" in compared.output
    assert "imported" in compared.output


def test_what_cannot_be_imported_leaves_nothing(
    store: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = evaluated(tmp_path / "theirs")
    good = ("--claim", "foreign.wrong", "--at-most", "0.3", "--scorer", "includes")
    for args, said in (
        ((place, *good[:2]), "either --at-most or --at-least"),
        ((place, *good[:4]), "has 2 scores: give --scorer one of includes, polite"),
        ((place, "--claim", "Not an id", *good[2:]), "did you mean 'not-an-id'"),
        (("nowhere.eval", *good), "nowhere.eval is no log"),
        ((str(tmp_path / "pyproject.toml"), *good), "is no log"),
        (good, "Missing argument"),
    ):
        done = alignbench("history", "import", *args)
        assert done.exit_code == 2
        assert said in done.output, done.output
        assert store.runs() == []

    def full(*args: object, **options: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        done = alignbench("history", "import", place, *good)
    assert done.exit_code == 2
    assert "No space left on device" in done.output
    assert store.runs() == []
    assert alignbench("history", "import", place, *good).exit_code == 0


def _import_it(folder: str, place: str) -> None:
    os.chdir(folder)
    asked = ("--claim", "foreign.wrong", "--at-most", "0.3", "--scorer", "includes")
    done = alignbench("history", "import", place, *asked)
    os._exit(0 if done.exit_code == 0 or "is in the history already" in done.output else 1)


def test_several_may_import_the_same_logs_at_once(store: History, tmp_path: Path) -> None:
    place = evaluated(tmp_path / "theirs")
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_import_it, args=(str(tmp_path), place)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    (id,) = store.runs()
    assert len(store.read(id).records[0].observations) == 40
    assert [file.name for file in Path(store.url, "runs").iterdir()] == [f"{id}.json.gz"]


# -- prune


def test_prune_says_what_would_go_and_removes_nothing(store: History) -> None:
    runs = measured(store, "x", "x", "x")
    for command in (("--keep", "1"), ("--keep", "1", "--format", "json")):
        said = alignbench("history", "prune", *command)
        assert said.exit_code == 0
        assert store.runs() == runs
    assert [row["run"] for row in json.loads(said.output)["runs"]] == runs[:2]
    text = alignbench("history", "prune", "--keep", "1").output
    assert "2 runs would go, " in text
    assert "nothing was removed: say --yes to do it" in text
    assert runs[2] not in text


def test_prune_removes_records_logs_and_what_the_index_keeps(store: History) -> None:
    runs = measured(store, "x", "x", "x")
    Index(store).entries()
    said = alignbench("history", "prune", "--keep", "1", "--yes")
    assert said.exit_code == 0
    assert "2 runs removed, " in said.output
    assert store.runs() == runs[2:]
    root = Path(store.url)
    left = {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}
    assert left == {
        ".gitignore",
        f"runs/{runs[2]}.json.gz",
        f"logs/{runs[2]}/a.eval",
        f"index/{runs[2]}.json.gz",
    }
    assert not Path(store.url, "logs", runs[0]).exists()
    assert [entry.run for entry in Index(store).entries()] == runs[2:]


@pytest.mark.parametrize(
    ("asked", "going"),
    [
        (("--before", "2026-01-07"), (0, 1)),
        (("--before", "2026-01-07", "--model", "x"), (0,)),
        (("--model", "y"), (1, 3)),
        (("--model", "acme/y"), (1, 3)),
        (("--model", "nobody"), ()),
        (("--keep", "3"), (0,)),
        (("--keep", "1", "--model", "y"), (1,)),
        (("--keep", "0"), (0, 1, 2, 3)),
        (("--keep", "9"), ()),
    ],
)
def test_what_fits_all_that_was_asked_goes(store: History, asked: tuple[str, ...], going: tuple[int, ...]) -> None:
    runs = measured(store, "x", "y", "x", "y")
    assert alignbench("history", "prune", *asked, "--yes").exit_code == 0
    assert store.runs() == [id for number, id in enumerate(runs) if number not in going]


def test_the_only_record_of_a_version_stays_unless_it_is_forced(store: History) -> None:
    runs = measured(store, "v1", "v1", "v2", "v3", missing="v3")
    said = alignbench("history", "prune", "--keep", "0", "--yes")
    assert store.runs() == runs[1:3], "the older of v1, and v3 whose run measured nothing"
    for version in ("v1", "v2"):
        assert f"the only measured record of t.a on {version}" in said.output
    assert "stays" in said.output
    assert alignbench("history", "prune", "--keep", "0", "--yes", "--force").exit_code == 0
    assert store.runs() == []


def test_of_runs_that_hold_several_models_only_those_of_one_alone_are_its_own(store: History) -> None:
    store.write(run("20260101-000000-aa", some(asked="x", model="a/x"), some(asked="y", model="a/y")))
    store.write(run("20260102-000000-aa", some(asked="x", model="a/x")))
    alignbench("history", "prune", "--model", "x", "--yes")
    assert store.runs() == ["20260101-000000-aa"]


def test_prune_asks_for_something_to_go_by(store: History) -> None:
    measured(store, "x")
    for args, said in (
        ((), "say which runs: --keep N, --before DATE, --model NAME"),
        (("--before", "yesterday"), "give a day as year-month-day"),
        (("--keep", "-1"), "-1 is not in the range"),
        (("--yes",), "say which runs"),
    ):
        done = alignbench("history", "prune", *args)
        assert (done.exit_code, said in done.output) == (2, True), done.output
    assert len(store.runs()) == 1


def test_what_cannot_be_removed_is_said(store: History, monkeypatch: pytest.MonkeyPatch) -> None:
    (id,) = measured(store, "x")

    def refuse(*args: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(type(store._fs), "rm_file", refuse)
        done = alignbench("history", "prune", "--keep", "0", "--yes")
    assert done.exit_code == 2
    assert f"run {id} could not be removed" in done.output
    assert store.runs() == [id]


def _prune_all(folder: str) -> None:
    os.chdir(folder)
    done = alignbench("history", "prune", "--before", "2027-01-01", "--yes")
    os._exit(done.exit_code)


def _write_new(url: str) -> None:
    for number in range(20):
        History(url).write(run(f"20280101-0000{number:02d}-aa", some()))
    os._exit(0)


def test_two_may_prune_while_a_third_writes(store: History, tmp_path: Path) -> None:
    old = measured(store, *["x"] * 25)
    Index(store).entries()
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=_prune_all, args=(str(tmp_path),)) for _ in range(2)]
    others = [*both, fork.Process(target=_write_new, args=(store.url,))]
    for process in others:
        process.start()
    for process in others:
        process.join()
    assert [process.exitcode for process in others] == [0, 0, 0]
    left = store.runs()
    assert not set(left) & set(old)
    assert len(left) == 20
    assert [store.read(id).id for id in left] == left
    assert alignbench("history", "verify").exit_code == 0


def test_a_damaged_run_is_not_for_prune(store: History) -> None:
    first, second = measured(store, "x", "x")
    Path(store.url, "runs", f"{first}.json.gz").write_bytes(b"damaged")
    alignbench("history", "prune", "--keep", "0", "--yes")
    assert store.runs() == [first]
    assert second not in alignbench("history", "list").output


@pytest.mark.parametrize("place", ["memory://pruned", "file://{}/pruned"])
def test_a_store_elsewhere_is_pruned_and_verified_too(
    store: History, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    url = place.format(tmp_path)
    there = History(url)
    runs = write(there, [Story("t.a", {"x": 0.1}, prompts=20)], ["x"] * 3)
    assert alignbench("history", "verify", "--history", url).exit_code == 0
    assert alignbench("history", "prune", "--keep", "1", "--yes", "--history", url).exit_code == 0
    assert there.runs() == runs[2:]
    there._fs.pipe_file(f"{there._root}/runs/{runs[2]}.json.gz", b"damaged")
    found = alignbench("history", "verify", "--quarantine", "--history", url)
    assert found.exit_code == 1
    assert there.runs() == []
    assert there._fs.cat_file(f"{there._root}/quarantine/runs--{runs[2]}.json.gz") == b"damaged"


# -- verify


def test_a_sound_history_is_said_to_be(store: History) -> None:
    measured(store, "x", "x")
    Index(store).entries()
    done = alignbench("history", "verify")
    assert (done.exit_code, done.output) == (0, "verify\nall is sound: 2 run files and 2 logs, and the index\n")


def _rewrite(file: Path, old: bytes, new: bytes) -> None:
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(old, new)))


def test_every_kind_of_damage_is_named_and_stays_where_it_is(store: History) -> None:
    runs = measured(store, "x", "x", "x", "x")
    Index(store).entries()
    root = Path(store.url)
    _rewrite(root / "runs" / f"{runs[0]}.json.gz", b"Yes, gladly", b"No, never..")
    archive = root / "logs" / runs[1] / "a.eval"
    archive.write_bytes(archive.read_bytes().replace(b"{}{}{}", b"{}[]{}"))
    (root / "logs" / runs[1] / "b.json").write_text('{"half":')
    (root / "logs" / runs[1] / "c.eval").write_bytes(b"no archive")
    (root / "index" / f"{runs[2]}.json.gz").write_bytes(b"damaged")
    (root / "index" / "gone.json.gz").write_bytes((root / "index" / f"{runs[3]}.json.gz").read_bytes())
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    done = alignbench("history", "verify", "--format", "json")
    assert done.exit_code == 1
    shape = json.loads(done.output)
    assert (shape["runs"], shape["logs"]) == (4, 6)
    assert {fault["file"]: fault["why"] for fault in shape["faults"]} == {
        f"runs/{runs[0]}.json.gz": "its content does not match its checksum",
        f"logs/{runs[1]}/a.eval": "header.json in it does not match its checksum",
        f"logs/{runs[1]}/b.json": "Expecting value: line 1 column 9 (char 8)",
        f"logs/{runs[1]}/c.eval": "File is not a zip file",
        f"index/{runs[2]}.json.gz": "damaged",
        "index/gone.json.gz": "of a run that is not there",
    }
    assert {file: file.read_bytes() for file in root.rglob("*") if file.is_file()} == before
    text = alignbench("history", "verify").output
    assert "6 files of 4 run files and 6 logs, and the index are not sound" in text
    assert "--quarantine sets them aside" in text


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, 93], ids=["deflated", "zstandard, as Inspect does"])
def test_a_damaged_archive_is_named_whatever_it_is_compressed_with(store: History, compression: int) -> None:
    """Each decompressor has errors of its own kind."""
    (id,) = measured(store, "x")
    archive = Path(store.url, "logs", id, "b.eval")
    with zipfile.ZipFile(archive, "w", compression) as file:
        file.writestr("samples.json", "".join(random.Random(7).choices("abcdefgh", k=20_000)))
    assert alignbench("history", "verify").exit_code == 0
    packed = bytearray(archive.read_bytes())
    for place in range(100, 4_000, 7):
        packed[place] ^= 0x55
    archive.write_bytes(packed)
    done = alignbench("history", "verify")
    assert (done.exit_code, f"logs/{id}/b.eval" in done.output) == (1, True), done.output


def test_a_process_that_has_not_imported_inspect_reads_its_archives(store: History) -> None:
    """They are compressed in a way that Python's own zipfile does not know before 3.14."""
    (id,) = measured(store, "x")
    with zipfile.ZipFile(Path(store.url, "logs", id, "b.eval"), "w", 93) as file:
        file.writestr("header.json", "{}")
    command = [sys.executable, "-c", "from pytest_alignbench.cli import main; main()", "history", "verify"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "verify\nall is sound: 1 run file and 2 logs, and the index\n"


def test_the_quarantine_takes_what_is_damaged_and_nothing_else(store: History) -> None:
    runs = measured(store, "x", "x", "x")
    Index(store).entries()
    root = Path(store.url)
    file = root / "runs" / f"{runs[0]}.json.gz"
    file.write_bytes(b"damaged")
    (root / "index" / f"{runs[1]}.json.gz").write_bytes(b"damaged")
    done = alignbench("history", "verify", "--quarantine")
    assert done.exit_code == 1
    assert f"quarantine/runs--{runs[0]}.json.gz" in done.output
    assert "made again at the next reading" in done.output
    assert (root / "quarantine" / f"runs--{runs[0]}.json.gz").read_bytes() == b"damaged"
    assert store.runs() == runs[1:]
    # nothing is wrong any more but what was kept of the run that is set aside
    again = alignbench("history", "verify", "--quarantine")
    assert f"index/{runs[0]}.json.gz" in again.output
    assert alignbench("history", "verify").exit_code == 0
    # the same damage once more does not overwrite what is in the quarantine
    file.write_bytes(b"damaged again")
    alignbench("history", "verify", "--quarantine")
    assert (root / "quarantine" / f"runs--{runs[0]}.json.gz").read_bytes() == b"damaged"
    assert (root / "quarantine" / f"runs--{runs[0]}.json.gz.again").read_bytes() == b"damaged again"


def test_an_index_that_says_something_else_than_the_records_is_found(store: History) -> None:
    """By its checksum it is whole: only judging again can tell."""
    (id,) = measured(store, "x")
    Index(store).entries()
    file = Path(store.url, "index", f"{id}.json.gz")
    checksum, *parts = gzip.decompress(file.read_bytes()).split(b"\n")
    parts[2] = parts[2].replace(b'"claim":"t.a"', b'"claim":"t.b"')
    sealed = b"\n".join((sha256(b"\n".join(parts)).hexdigest().encode(), *parts))
    file.write_bytes(gzip.compress(sealed))
    assert Index(store).entries()[0].claim == "t.b"
    assert checksum not in sealed
    done = alignbench("history", "verify", "--quarantine")
    assert (done.exit_code, "not what its records say" in done.output) == (1, True)
    assert Index(store).entries()[0].claim == "t.a"


def test_what_an_older_version_kept_is_no_damage(store: History, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(store, "x")
    with monkeypatch.context() as patched:
        patched.setattr("pytest_alignbench.index._maker", lambda: "an older one")
        Index(store).entries()
    assert alignbench("history", "verify").exit_code == 0


def test_a_history_without_a_run_cannot_be_verified(store: History) -> None:
    done = alignbench("history", "verify")
    assert (done.exit_code, "holds no run" in done.output) == (2, True)


def test_what_cannot_be_set_aside_is_said(store: History, monkeypatch: pytest.MonkeyPatch) -> None:
    (id,) = measured(store, "x")
    Path(store.url, "runs", f"{id}.json.gz").write_bytes(b"damaged")
    monkeypatch.setattr(type(store._fs), "mv", lambda *args: (_ for _ in ()).throw(PermissionError("denied")))
    with pytest.raises(HistoryError, match="could not be moved to quarantine/"):
        store.set_aside(f"runs/{id}.json.gz")
    done = alignbench("history", "verify", "--quarantine")
    assert (done.exit_code, "could not be moved" in done.output) == (2, True)
