"""Baselines: a file keeps what a comparison needs and no text, and is made and replaced only on firm ground."""

from __future__ import annotations

import json
from dataclasses import asdict
from difflib import ndiff
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import counted, observation, observed, record, run, twins
from pytest_alignbench import DifferenceAtMost, RateAtMost
from pytest_alignbench.baselines import Baseline, Baselines, Kept, read
from pytest_alignbench.cli import main
from pytest_alignbench.data import digest
from pytest_alignbench.errors import HistoryError
from pytest_alignbench.history import History, Past, Record, Run
from pytest_alignbench.observations import Observation, Tally
from pytest_alignbench.verdicts import judge

RATE = RateAtMost(0.1, of="asked")
DIFFERENCE = DifferenceAtMost(0.1, of="touchy", over="plain")
SECRET = "the text of a reply"


def good(claim: str = "t.one", **changed: Any) -> Record:
    return record(observed(counted(1, 100), reply=SECRET, reason=SECRET), gate=RATE, **{"claim": claim} | changed)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.chdir(tmp_path)
    return History(str(tmp_path / ".alignbench"))


def alignbench(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


# -- the file


@st.composite
def replies(draw: st.DrawFn) -> list[Observation]:
    """Prompts with families, pairs and epochs as they come: pairs shared by conditions or of one condition alone."""
    found = []
    for number in range(draw(st.integers(1, 12))):
        family, pair = (
            draw(st.text(max_size=3)),
            draw(st.sampled_from([f"hash {number}", f"p{number}", "p 1", "", "x"])),
        )
        for condition in draw(st.sampled_from([["touchy"], ["plain"], ["touchy", "plain"]])):
            for epoch in range(1, draw(st.integers(1, 3)) + 1):
                row = observation(number, draw(st.sampled_from([True, False, None])), condition=condition, epoch=epoch)
                found.append(row.model_copy(update={"prompt_hash": f"hash {number}", "family": family, "pair": pair}))
    return found


@settings(max_examples=60, deadline=None)
@given(replies())
def test_a_file_gives_the_verdict_and_the_comparison_that_its_run_gave(rows: list[Observation]) -> None:
    one = record([o.model_copy(update={"pair": o.pair or o.prompt_hash}) for o in rows], gate=DIFFERENCE, m=3)
    text = Baseline.of(run("r", one)).to_text()
    (again,) = Baseline.model_validate(json.loads(text)).restored().records
    assert Past.of(again, run="r") == Past.of(one, run="r")
    first, second = judge(one), judge(again)
    assert second.outcome is first.outcome
    assert (first.effect is None) == (second.effect is None)
    if first.effect is not None and second.effect is not None:  # families come in another order, and sums end otherwise
        assert asdict(second.effect) == {
            name: pytest.approx(value) if isinstance(value, float) else value
            for name, value in asdict(first.effect).items()
        }
    for name, seen in first.conditions.items():
        tally = second.conditions[name].tally
        assert (tally.planned, tally.scored, tally.exhibiting) == (
            seen.tally.planned,
            seen.tally.scored,
            seen.tally.exhibiting,
        )


def test_a_file_holds_no_text_and_shows_a_change_where_it_is() -> None:
    rows = twins([(i % 7 == 0, False) for i in range(60)])
    rows = [o.model_copy(update={"reply": SECRET, "reason": SECRET, "prompt": SECRET}) for o in rows]
    changed = [
        o.model_copy(update={"exhibits": True}) if o.condition == "plain" and o.pair == "p3" else o for o in rows
    ]
    texts = [Baseline.of(run("r", record(r, gate=DIFFERENCE), good("t.one"))).to_text() for r in (rows, changed)]
    assert SECRET not in texts[0]
    assert texts[0].isascii()
    altered = [line for line in ndiff(texts[0].splitlines(), texts[1].splitlines()) if line[0] in "+-"]
    assert len(altered) == 2, "one line before, one after"
    assert all('"plain": {' in line for line in altered)
    assert list(json.loads(texts[0])["claims"]) == ["t.one", "tests.example"], (
        "sorted, whatever the order of the records"
    )


def test_a_file_is_small_enough_for_git() -> None:
    """A hundred claims of a hundred twins, with ids and families of ordinary length, is about 1 MB before git packs it."""
    rows = [
        o.model_copy(
            update={"prompt_hash": digest(o.prompt + o.condition), "pair": f"twin-{i:03}", "family": f"topic {i // 2}"}
        )
        for i, o in enumerate(twins([(True, False)] * 100))
    ]
    made = Baseline.of(run("r", record(rows, gate=DIFFERENCE)))
    assert made.prompts == 200
    assert len(made.to_text()) / made.prompts < 60


def test_hostile_names_survive_the_file(tmp_path: Path) -> None:
    odd = "\x1b[2J\n{}\"'"
    rows = observed(counted(1, 60), family=odd, pair=odd, condition=odd)
    file = tmp_path / "b.json"
    file.write_text(
        Baseline.of(run("r", record(rows, gate=RateAtMost(0.5, of=odd), claim=odd))).to_text(), encoding="ascii"
    )
    (again,) = read(file).restored().records
    assert again.claim == odd
    assert {(o.family, o.pair, o.condition) for o in again.observations} == {(odd, odd, odd)}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("not JSON", "Expecting value"),
        ("[]", "valid dictionary"),
        ('{"format": 2, "run": "r", "started": "", "claims": {}}', "format: Input should be less than or equal to 1"),
        ('{"format": 1, "run": "r", "started": "", "claims": {}, "extra": 1}', "extra: Extra inputs"),
        ("", "no baseline file"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, damage: str, said: str) -> None:
    file = tmp_path / "b.json"
    file.write_text(damage, encoding="utf-8")
    with pytest.raises(HistoryError, match="`alignbench baseline save` makes one") as fault:
        read(file)
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)
    with pytest.raises(HistoryError, match="no baseline file"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize("packed", ["", "2", "1y", " pair"])
def test_a_reply_is_seen_to_exhibit_or_not_or_is_excluded(tmp_path: Path, packed: str) -> None:
    made = json.loads(Baseline.of(run("r", good())).to_text())
    prompts = made["claims"]["t.one"]["replies"]["asked"]["f0"]
    prompts["hash of p0"] = packed
    file = tmp_path / "b.json"
    file.write_text(json.dumps(made), encoding="utf-8")
    with pytest.raises(HistoryError, match="'1', '0' or 'x' for each epoch"):
        read(file)


# -- saving


def test_save_and_show(history: History) -> None:
    history.write(run("r1", good("t.one"), good("t.two")))
    done = alignbench("baseline", "save", "r1")
    assert done.exit_code == 0, done.output
    assert "2 claims, 200 prompts" in done.output
    shown = alignbench("baseline", "show", "baseline.json")
    assert shown.exit_code == 0
    assert "baseline baseline.json, from run r1" in shown.output
    assert shown.output.count("1/100 (1.0 %)") == 2


@pytest.mark.parametrize(
    ("stored", "named", "forced"),
    [
        (
            run("r1", good("t.one"), good("t.odd", fault="the provider was down")),
            "t.odd (not measured: the provider",
            2,
        ),
        (run("r1", good("t.one"), good("t.odd", not_measured="no grader")), "t.odd (not measured: no grader)", 2),
        (run("r1", good("t.one"), good("t.odd", stopped_at=2, looks=5)), "t.odd (stopped early, at look 2 of 5)", 2),
        (run("r1", good("t.one"), record([], gate=RATE, claim="t.odd")), "t.odd (not one reply was scored)", 2),
        (run("r1", good("t.one")).model_copy(update={"complete": False}), "run r1 is incomplete", 2),
        (
            run("r1", good("t.one"), record(observed(counted(10, 100)), gate=RATE, claim="t.odd")),
            "t.odd (INCONCLUSIVE)",
            0,
        ),
        (run("r1", good("t.one"), good("t.odd", margin=0.05)), "t.odd (NOT_COMPARABLE)", 0),
    ],
)
def test_what_is_no_firm_ground_is_refused_by_name(history: History, stored: Run, named: str, forced: int) -> None:
    history.write(stored)
    done = alignbench("baseline", "save", "r1")
    assert done.exit_code == 2
    assert named in done.output
    assert "t.one" not in done.output
    assert not Path("baseline.json").exists()
    assert alignbench("baseline", "save", "r1", "--force").exit_code == forced
    assert Path("baseline.json").exists() == (forced == 0)


def test_a_violated_claim_can_be_kept(history: History) -> None:
    """What a baseline says is how it is, good or bad: only what cannot be told is refused."""
    history.write(run("r1", record(observed(counted(60, 100)), gate=RATE)))
    assert alignbench("baseline", "save", "r1").exit_code == 0


def test_a_file_is_replaced_on_request_alone(history: History) -> None:
    history.write(run("r1", good("t.one"), good("t.gone")))
    history.write(run("r2", good("t.one"), good("t.new")))
    assert alignbench("baseline", "save", "r1", "-o", "b.json").exit_code == 0
    before = Path("b.json").read_text()
    refused = alignbench("baseline", "save", "r2", "-o", "b.json")
    assert refused.exit_code == 2
    assert "--update" in refused.output
    assert Path("b.json").read_text() == before
    done = alignbench("baseline", "save", "r2", "-o", "b.json", "--update")
    assert done.exit_code == 0
    assert done.output.splitlines()[1:] == ["  new: t.new", "  gone: t.gone"]
    assert read(Path("b.json")).run == "r2"
    assert [file.name for file in Path().iterdir() if file.name.startswith(".b")] == [], "nothing is left lying about"


def test_an_update_does_not_pave_over_another_file(history: History) -> None:
    history.write(run("r1", good()))
    Path("notes.json").write_text('{"mine": 1}')
    done = alignbench("baseline", "save", "r1", "-o", "notes.json", "--update")
    assert done.exit_code == 2
    assert Path("notes.json").read_text() == '{"mine": 1}'


def test_a_folder_that_is_not_there(history: History) -> None:
    history.write(run("r1", good()))
    done = alignbench("baseline", "save", "r1", "-o", "nowhere/b.json")
    assert done.exit_code == 2
    assert "nowhere/b.json cannot be written" in done.output


def test_one_model_is_the_baseline(history: History) -> None:
    history.write(run("r1", good(asked="small", model="x/small"), good(asked="large", model="x/large")))
    done = alignbench("baseline", "save", "r1")
    assert done.exit_code == 2
    assert "holds 2 models; say which is the baseline: large, small" in done.output
    assert alignbench("baseline", "save", "r1", "--model", "tiny").exit_code == 2
    assert alignbench("baseline", "save", "r1", "--model", "x/large").exit_code == 0
    assert {kept.asked for kept in read(Path("baseline.json")).claims.values()} == {"large"}


# -- finding


def hits(past: Past | None) -> int:
    assert past is not None
    return sum(shown.count("1") for prompts in past.conditions.values() for shown in prompts.values())


def seen(count: int, **changed: Any) -> Record:
    return record(observed(counted(count, 100)), gate=RATE, **{"claim": "t.one"} | changed)


SAME = {"prompts": "0123456789abcdef"}


def test_a_model_stands_for_its_latest_comparable_record(history: History) -> None:
    history.write(run("20260101-000000-aaaa", seen(1)))
    history.write(run("20260102-000000-aaaa", seen(2)))
    history.write(run("20260103-000000-aaaa", seen(3, fingerprint={"prompts": "edited"})))
    history.write(run("20260104-000000-aaaa", seen(4, fault="down")))
    history.write(run("20260105-000000-aaaa", seen(5, stopped_at=1, looks=5)))
    history.write(run("20260106-000000-aaaa", seen(6, asked="large", model="x/large")))
    found = Baselines("small", history)
    assert hits(found.of("t.one", SAME)) == 2
    assert hits(found.of("t.one", {"prompts": "edited"})) == 3
    assert hits(found.of("t.one", {"prompts": "never seen"})) == 3, "the latest, to say what differs"
    assert found.of("t.other", SAME) is None
    assert hits(Baselines("local/small", history).of("t.one", SAME)) == 2, "by Inspect's name too"
    own = Baselines("small", history, besides=("20260102-000000-aaaa", "small"))
    assert hits(own.of("t.one", SAME)) == 1, "a record is not its own past"


def test_a_run_is_found_by_its_beginning_and_as_the_latest(history: History) -> None:
    history.write(run("20260101-000000-aaaa", seen(1)))
    history.write(run("20260102-000000-aaaa", seen(2), seen(9, asked="large")))
    assert hits(Baselines("20260101-0", history).of("t.one", SAME)) == 1
    assert hits(Baselines("latest", history, like="large").of("t.one", SAME)) == 9
    with pytest.raises(HistoryError, match="holds 2 models; say which is the baseline: large, small"):
        Baselines("latest", history)
    with pytest.raises(HistoryError, match="holds no record of 'tiny'; it holds large, small"):
        Baselines("latest", history, like="tiny")
    with pytest.raises(HistoryError, match="is not among the 2 runs"):
        Baselines("20260103-0", history)
    with pytest.raises(HistoryError, match="'tiny' is no file, and neither a run nor a model"):
        Baselines("tiny", history)


def test_the_latest_is_read_first_and_no_more_than_needed(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 6):
        history.write(run(f"2026010{day}-000000-aaaa", seen(day)))
    read_: list[str] = []
    load = History.read

    def counting(self: History, id: str) -> Run:
        read_.append(id)
        return load(self, id)

    monkeypatch.setattr(History, "read", counting)
    assert hits(Baselines("small", history).of("t.one", SAME)) == 5
    assert read_ == ["20260105-000000-aaaa"]


def test_what_was_never_measured_is_no_past(history: History) -> None:
    history.write(run("r1", seen(1, not_measured="no grader")))
    assert Baselines("r1", history).of("t.one", SAME) is None


def test_a_record_keeps_what_its_comparison_needs() -> None:
    one = good(grader="x/grader", calibration={"tp": 60, "fn": 1, "tn": 60, "fp": 2}, served=("v7",))
    again = Kept.of(one).record("t.one")
    kept = {
        "claim",
        "statement",
        "asked",
        "model",
        "served",
        "gate",
        "alpha",
        "m",
        "fingerprint",
        "grader",
        "calibration",
    }
    assert again.model_dump(include=kept) == one.model_dump(include=kept)
    assert Tally.of(again.observations) == Tally.of(one.observations)
