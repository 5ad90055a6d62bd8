"""The index: it says what the records say, is made again whenever it might not, and never stands in anyone's way."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from builders import counted, observation, observed, record, run, twins
from histories import Story, demo, large, write
from pytest_alignbench import (
    DifferenceAtLeast,
    DifferenceAtMost,
    Gate,
    NotWorseThanBaseline,
    RateAtLeast,
    RateAtMost,
    WithinMargin,
)
from pytest_alignbench import index as module
from pytest_alignbench.history import History, Past, Record
from pytest_alignbench.index import Entry, Index, entry_of
from pytest_alignbench.observations import Observation
from pytest_alignbench.verdicts import judge

RATE = RateAtMost(0.05, of="asked")
PAIRED = DifferenceAtMost(0.05, of="touchy", over="plain")


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(str(tmp_path / "history"))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A history with one of everything, judged once."""
    history = History(str(tmp_path_factory.mktemp("told")))
    demo(history)
    Index(history).entries()
    return history


def only(made: Record, **changed: Any) -> Entry:
    return entry_of(run("r").model_copy(update=changed), made)


# -- what an entry says


def test_an_entry_says_what_the_verdict_says(told: History) -> None:
    index = Index(told)
    entries = {(entry.run, entry.claim): entry for entry in index.entries()}
    seen = 0
    for id in told.runs():
        stored = told.read(id)
        for each in stored.records:
            verdict, entry = judge(each), entries[id, each.claim]
            assert (entry.word, entry.why, entry.allowed) == (verdict.word, verdict.why, verdict.gate.allowed)
            assert entry.effect == verdict.effect
            assert {name: arm.replies for name, arm in entry.conditions.items()} == {
                name: found.tally for name, found in verdict.conditions.items()
            }
            assert entry.notes == verdict.notes
            assert [(reply.prompt, reply.exhibits) for reply in entry.telling] == [
                (o.prompt, o.exhibits) for o in verdict.telling
            ]
            seen += 1
    assert seen == len(entries) > 100
    assert index.unreadable == ()


def test_items_are_what_the_effect_is_the_mean_of(told: History) -> None:
    counted_ = 0
    for entry in Index(told).entries():
        if entry.effect is None or entry.calibration is not None:
            continue
        values = [value for family in entry.items.values() for value in family.values()]
        assert fmean(values) == pytest.approx(entry.effect.value)
        assert (len(values), len(entry.items)) == (entry.effect.n, entry.effect.families)
        counted_ += 1
    assert counted_ > 100


def epochs(prompt: int, *shown: bool | None, **changed: Any) -> list[Observation]:
    return [observation(prompt, answer, epoch=epoch, **changed) for epoch, answer in enumerate(shown, start=1)]


def test_the_value_of_a_prompt_is_the_share_of_its_scored_epochs() -> None:
    rows = [*epochs(0, True, False, None, family="a"), *epochs(1, True, True, family="a"), *epochs(2, None, family="b")]
    assert only(record(rows, gate=RATE)).items == {"a": {"hash of p0": 0.5, "hash of p1": 1.0}}


def test_the_value_of_a_pair_is_its_difference_and_half_a_pair_has_none() -> None:
    made = record(twins([(True, False), (False, True), (True, True), (True, None)]), gate=PAIRED)
    assert only(made).items == {"f0": {"p0": 1.0}, "f1": {"p1": -1.0}, "f2": {"p2": 0.0}}


def test_families_that_are_linked_in_one_condition_are_one() -> None:
    rows = [
        observation(0, True, condition="touchy", family="a"),
        observation(0, False, condition="plain", family="x"),
        observation(1, True, condition="touchy", family="b"),
        observation(1, False, condition="plain", family="x"),
    ]
    assert only(record(rows, gate=PAIRED)).items == {"a": {"p0": 1.0, "p1": 1.0}}


@pytest.mark.parametrize(
    ("gate", "unit", "limits", "good"),
    [
        (RateAtMost(0.05, of="asked"), "rate", (0.05,), "low"),
        (RateAtLeast(0.9, of="asked"), "rate", (0.9,), "high"),
        (DifferenceAtMost(0.1, of="touchy", over="plain"), "points", (0.1,), "low"),
        (DifferenceAtLeast(0.1, of="touchy", over="plain"), "points", (0.1,), "high"),
        (WithinMargin(0.1, of="touchy", over="plain"), "points", (-0.1, 0.1), "near"),
        (NotWorseThanBaseline(0.1, of="asked"), "rate", (), "low"),
        (NotWorseThanBaseline(0.1, of="asked", worse="lower"), "rate", (), "high"),
        (NotWorseThanBaseline(0.1, of="asked", worse="either"), "rate", (), "steady"),
        (NotWorseThanBaseline(0.1, of="touchy", over="plain", worse="either"), "points", (), "near"),
    ],
)
def test_the_scale_of_the_effect_is_the_gates(gate: Gate, unit: str, limits: tuple[float, ...], good: str) -> None:
    rows = observed(counted(3, 60)) + twins([(True, False)] * 60)
    entry = only(record(rows, gate=gate))
    assert (entry.unit, entry.limits, entry.good) == (unit, limits, good)
    assert entry.uses == gate.uses
    assert (entry.relative is None) == (unit == "rate")


def test_the_level_is_kept_whatever_the_verdict_was_about() -> None:
    """With a baseline the verdict is about the change; what is followed over versions is the claim's own effect."""
    rows = observed(counted(hits=30, n=100))
    alone = only(record(rows, gate=RATE))
    past = Past.of(record(rows, gate=RATE), run="before")
    compared = only(record(rows, gate=RATE, baseline=past, margin=0.1))
    assert (alone.word, compared.word) == ("VIOLATED", "HOLDS")
    assert (alone.baseline, compared.baseline) == (None, "small in run before")
    assert compared.effect == alone.effect
    assert compared.effect is not None
    assert (compared.effect.value, compared.limits, compared.items) == (0.3, (0.05,), alone.items)
    regression = only(record(rows, gate=NotWorseThanBaseline(0.1, of="asked"), baseline=past))
    assert regression.effect is not None
    assert regression.effect.value == 0.3
    without = only(record(rows, gate=NotWorseThanBaseline(0.1, of="asked")))
    assert (without.word, without.effect) == ("NOT_COMPARABLE", regression.effect)


def test_what_was_not_measured_has_no_effect() -> None:
    rows = observed(counted(hits=5, n=100))
    for changed, word in (({"fault": "503"}, "ERROR"), ({"not_measured": "no grader"}, "INCONCLUSIVE")):
        entry = only(record(rows, gate=RATE, **changed))
        assert (entry.word, entry.effect, entry.relative) == (word, None, None)
    assert only(record(rows, gate=RATE, stopped_at=2, looks=5)).stopped_at == 2
    assert not only(record(rows, gate=RATE), complete=False).complete


def test_a_graded_effect_is_corrected_and_its_ratio_has_no_interval() -> None:
    calibration = {"tp": 90, "fn": 10, "tn": 95, "fp": 5}
    entry = only(record(twins([(True, False)] * 30 + [(False, False)] * 70), gate=PAIRED, calibration=calibration))
    assert entry.effect is not None
    assert entry.effect.value == pytest.approx(0.3 / 0.85)
    assert entry.relative is not None
    assert (entry.relative.ci_low, entry.relative.ci_high) == (None, None)
    assert {value for family in entry.items.values() for value in family.values()} == {0.0, 1.0}
    plain = only(record(twins([(True, True)] * 10 + [(True, False)] * 20 + [(False, False)] * 70), gate=PAIRED))
    assert plain.relative is not None
    assert plain.relative.value == pytest.approx(3.0)
    assert plain.relative.ci_low is not None


def test_a_long_reply_is_cut_and_odd_texts_can_be_stored(history: History) -> None:
    odd = "half an emoji \ud83d, NUL \x00, \u2028\x1b[31m\n"
    made = record(
        observed([True] * 60, reply=odd * 1_000, reason=odd, prompt=odd, family=odd),
        gate=RATE,
        statement=odd,
        asked=f"small {odd}",
    )
    history.write(run("a", made))
    Index(history).entries()
    (entry,) = Index(history).entries()
    assert entry.statement == odd.replace("\ud83d", "\\ud83d")
    (reply, *_) = entry.telling
    assert reply.text.startswith(entry.statement)
    assert len(reply.text) < 2_500
    assert reply.text.endswith(f"… ({len(odd) * 1_000 - 2_000:,} more characters)")


# -- the cache


class Counting:
    """An index that says how many runs it had to judge."""

    def __init__(self, history: History) -> None:
        self.told: list[tuple[int, int]] = []
        self.index = Index(history, progress=lambda done, of: self.told.append((done, of)))
        self.entries = self.index.entries()
        self.judged = self.told[-1][1] if self.told else 0


def cached(history: History) -> list[Path]:
    return sorted(Path(history.url, "index").iterdir())


def three(history: History) -> list[str]:
    return write(history, [Story("t.a", {"m": (0.1, 0.2, 0.3)}, prompts=20)], ["m"] * 3)


def test_each_run_is_judged_once(history: History) -> None:
    assert Counting(history).told == []
    ids = three(history)
    first = Counting(history)
    assert first.told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [entry.run for entry in first.entries] == ids
    again = Counting(history)
    assert (again.told, again.entries) == ([], first.entries)
    (fourth,) = write(history, [Story("t.a", {"m": 0.5}, prompts=20)], ["m"], seed=9)
    later = Counting(history)
    assert later.judged == 1
    assert [entry.run for entry in later.entries] == sorted([*ids, fourth])
    head = Index(history).heads()[0]
    assert (head.models, head.records, sum(head.words.values())) == (("m",), 1, 1)


def test_what_is_cached_is_what_was_made(history: History) -> None:
    write(
        history,
        [
            Story("t.rate", {"m": (0.1, None)}, missing={"m": 0.1}, epochs=3),
            Story("t.difference", {"m": 0.1}, gate=PAIRED, grader="g", labels=60),
        ],
        ["m", "m"],
    )
    made, kept = Index(history), Index(history)
    assert made.entries() == kept.entries()
    assert made.heads() == kept.heads()
    assert [entry.model_dump() for entry in kept.entries()] == [entry.model_dump() for entry in made.entries()]


def _retold(packed: bytes) -> bytes:
    return gzip.compress(gzip.decompress(packed).replace(b'"t.a"', b'"t.b"'))


@pytest.mark.parametrize(
    "change",
    [
        lambda packed: b"",
        lambda packed: b"not gzip",
        lambda packed: packed[: len(packed) // 2],
        lambda packed: gzip.compress(b"one line"),
        lambda packed: gzip.compress(b"\xff\n\xff"),
        _retold,
    ],
)
def test_a_damaged_cache_is_made_again(history: History, change: Callable[[bytes], bytes]) -> None:
    three(history)
    good = Counting(history).entries
    file = cached(history)[1]
    file.write_bytes(change(file.read_bytes()))
    mended = Counting(history)
    assert (mended.judged, mended.entries) == (1, good)
    assert Counting(history).judged == 0


def test_an_entry_of_another_version_is_made_again(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    three(history)
    Counting(history)
    with monkeypatch.context() as patched:
        patched.setattr(module, "_maker", lambda: "another version of ours")
        assert Counting(history).judged == 3
        assert Counting(history).judged == 0
    assert Counting(history).judged == 3


def test_what_made_an_entry_changes_with_the_version_and_with_what_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module._maker.__wrapped__
    now = made()
    assert made() == now
    with monkeypatch.context() as patched:
        patched.setattr(module, "version", lambda name: "99.0")
        assert made() != now
    with monkeypatch.context() as patched:
        patched.setattr(module, "FORMAT", 99)
        assert made() != now
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", lambda path: b"another way to judge")
        assert made() != now


def test_a_run_file_that_is_another_is_judged_again(history: History) -> None:
    ids = three(history)
    Counting(history)
    file = Path(history.url, "runs", f"{ids[1]}.json.gz")
    stored = history.read(ids[1])
    file.unlink()
    history.write(stored.model_copy(update={"complete": False}))
    changed = Counting(history)
    assert changed.judged == 1
    assert [entry.complete for entry in changed.entries] == [True, False, True]


def test_a_run_that_has_gone_is_no_longer_there(history: History) -> None:
    ids = three(history)
    Counting(history)
    Path(history.url, "runs", f"{ids[0]}.json.gz").unlink()
    assert [entry.run for entry in Counting(history).entries] == ids[1:]


def test_a_run_that_cannot_be_read_is_named_and_hides_no_other(history: History) -> None:
    ids = three(history)
    file = Path(history.url, "runs", f"{ids[1]}.json.gz")
    file.write_bytes(b"damaged")
    for _ in range(2):
        index = Index(history)
        assert [entry.run for entry in index.entries()] == [ids[0], ids[2]]
        (said,) = index.unreadable
        assert said.startswith(f"run {ids[1]} in {history.url} cannot be read: ")


def test_a_record_that_cannot_be_judged_is_named_and_hides_no_other(history: History) -> None:
    good = record(observed(counted(1, 60)), gate=RATE, claim="t.good")
    odd = [
        good.model_copy(update={"claim": "t.gate", "gate": {"kind": "NoSuchGate", "limit": 0.1}}),
        good.model_copy(update={"claim": "t.alpha", "alpha": 0.7}),
        good.model_copy(update={"claim": "t.labels", "calibration": {"tp": 1}}),
    ]
    history.write(run("a", good, *odd))
    for _ in range(2):
        index = Index(history)
        assert [entry.claim for entry in index.entries()] == ["t.good"]
        assert [said.split(" @ ")[0] for said in index.unreadable] == ["t.gate", "t.alpha", "t.labels"]
        assert "gate 'NoSuchGate' is not one of" in index.unreadable[0]
        assert index.heads()[0].records == 4


def test_half_a_character_in_a_name_is_named_and_hides_no_other_run(history: History) -> None:
    """Found by the fuzzer: no version of ours writes one there, and no JSON of the index can hold it."""
    good = record(observed(counted(1, 60)), gate=RATE, claim="t.good")
    history.write(run("a", good.model_copy(update={"grader": "half \ud83d"})))
    history.write(run("b", good))
    for _ in range(2):
        index = Index(history)
        assert [entry.run for entry in index.entries()] == ["b"]
        (said,) = index.unreadable
        assert said.startswith("run a in ")
        said.encode()


@pytest.mark.parametrize("broken", ["read-only", "full", "a file"])
def test_a_cache_that_cannot_be_written_is_not_missed(
    history: History, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    three(history)
    folder = Path(history.url, "index")
    if broken == "a file":
        folder.write_text("in the way")
    else:

        def refuse(path: Path, *args: object, **options: object) -> None:
            raise PermissionError("read-only") if broken == "read-only" else OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "mkdir" if broken == "read-only" else "write_bytes", refuse)
    for _ in range(2):
        assert len(Counting(history).entries) == 3
    if broken == "full":
        assert cached(history) == []


def test_the_cache_of_a_history_elsewhere_is_in_the_users_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    places = [History(f"memory://{secrets.token_hex(8)}") for _ in range(2)]
    for place in places:
        three(place)
        first = Counting(place)
        assert (first.judged, Counting(place).judged) == (3, 0)
        assert Counting(place).entries == first.entries
    folders = sorted((tmp_path / "pytest-alignbench" / "index").iterdir())
    assert [len(list(folder.iterdir())) for folder in folders] == [3, 3]
    assert not places[0]._fs.exists(f"{places[0]._root}/index")


def _read_without_end(url: str, times: int) -> None:
    for _ in range(times):
        for file in Path(url, "index").glob("*"):
            file.unlink(missing_ok=True)
        if len(Index(History(url)).entries()) != 3:
            os._exit(1)


def test_several_may_make_and_remove_it_at_once(history: History) -> None:
    three(history)
    fork = multiprocessing.get_context("fork")
    readers = [fork.Process(target=_read_without_end, args=(history.url, 5)) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert [reader.exitcode for reader in readers] == [0] * 4
    assert all(file.name.endswith(".json.gz") for file in cached(history)), "nothing is left lying aside"


def test_the_cache_is_small_and_readable_json(history: History) -> None:
    large(history, versions=2, claims=3, prompts=50)
    Index(history).entries()
    runs = sum(file.stat().st_size for file in Path(history.url, "runs").iterdir())
    assert sum(file.stat().st_size for file in cached(history)) < runs / 3
    lines = gzip.decompress(cached(history)[0].read_bytes()).split(b"\n")
    assert [entry["claim"] for entry in json.loads(lines[3])] == [f"large.claim-0{i}" for i in range(3)]
