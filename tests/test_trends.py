"""Series: which run stands for which version, where the line breaks, what is named and not compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from statsmodels.stats.multitest import multipletests

from builders import observation, observed, record
from histories import DEMO_LINEAGES, FIRST_DAY, Story, Truth, demo, write
from pytest_alignbench import DifferenceAtMost, NotWorseThanBaseline, RateAtMost
from pytest_alignbench.estimates import change_between
from pytest_alignbench.history import History, Record, Run
from pytest_alignbench.index import Index
from pytest_alignbench.observations import Exclusion
from pytest_alignbench.settings import Settings
from pytest_alignbench.trends import Series, Trends, trends

GATE = RateAtMost(0.10, of="asked")
FIVE = [f"v{i}" for i in range(1, 6)]
RISING = dict(zip(FIVE, (0.02, 0.15, 0.3, 0.45, 0.6), strict=True))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(str(tmp_path / "history"))


def seen(history: History, lineages: Mapping[str, Sequence[str]] | None = None, **also: Any) -> Trends:
    settings = Settings(lineages={name: list(versions) for name, versions in (lineages or {}).items()}, **also)
    return trends(Index(history), settings)


def only(found: Trends) -> Series:
    (series,) = found.series
    return series


def names(series: Series) -> list[str]:
    return [point.name for point in series.points]


def story(truth: Mapping[str, Truth], *, claim: str = "t.a", prompts: int = 40, **also: Any) -> Story:
    return Story(claim, truth, prompts=prompts, **also)


# -- lineages


def test_versions_are_in_the_order_of_the_settings_whenever_they_were_measured(history: History) -> None:
    write(history, [story(RISING)], ["v3", "v1", "v5", "v2", "v4"])
    series = only(seen(history, {"v": FIVE}))
    assert (series.lineage, series.kind, names(series), series.absent) == ("v", "versions", FIVE, ())
    assert (series.finding.kind, series.finding.direction) == ("trend", "worse")
    assert (series.finding.since, series.finding.until) == ("v1", "v5")
    other = only(seen(history, {"v": FIVE[::-1]}))
    assert (names(other), other.finding.direction) == (FIVE[::-1], "better")


def test_a_version_without_a_record_is_named(history: History) -> None:
    write(history, [story(RISING)], ["v1", "v2", "v5"])
    series = only(seen(history, {"v": FIVE, "none of it": ["w1", "w2"]}))
    assert (names(series), series.absent) == (["v1", "v2", "v5"], ("v3", "v4"))
    assert series.finding.kind == "change"


def test_unlisted_models_are_apart_and_in_no_order(history: History) -> None:
    write(history, [story({**RISING, "x1": 0.1, "x2": 0.9})], [*FIVE, "x1", "x2"])
    found = seen(history, {"v": FIVE})
    assert [(series.lineage, series.kind, names(series)) for series in found.series] == [
        ("v", "versions", FIVE),
        (None, "apart", ["x1"]),
        (None, "apart", ["x2"]),
    ]
    assert found.series[1].finding.kind == "nothing"
    assert found.series[1].finding.sentence.startswith("Nothing to compare: no lineage lists x1")
    assert all(series.kind == "apart" for series in seen(history).series), "no lineage, no order"


def renamed(made: Record, asked: str, model: str) -> Record:
    return made.model_copy(update={"asked": asked, "model": model})


def stored(history: History, number: int, *records: Record, **changed: Any) -> str:
    id = f"202601{number:02d}-000000-aa"
    started = f"2026-01-{number:02d}T00:00:00+00:00"
    history.write(Run(**{"id": id, "started": started, "records": records} | changed))
    return id


def counted(hits: int, *, n: int = 60, **changed: Any) -> Record:
    return record(observed([True] * hits + [False] * (n - hits)), gate=GATE, **changed)


def test_a_version_is_known_by_any_of_its_names(history: History) -> None:
    for day, (asked, model) in enumerate(
        [("claude-w", "anthropic/claude-w"), ("anthropic/claude-x", "anthropic/claude-x"), ("new", "acme/large")], 1
    ):
        stored(history, day, renamed(counted(5 * day), asked, model))
    listed = ["claude-w", "claude-x", "new"]
    series = only(seen(history, {"c": listed}, models={"new": "acme/large"}))
    assert names(series) == listed
    by_model = only(seen(history, {"c": ["anthropic/claude-w", "anthropic/claude-x", "acme/large"]}))
    assert [point.entry.asked for point in by_model.points] == ["claude-w", "anthropic/claude-x", "new"]


def test_a_claim_has_a_series_on_each_lineage(history: History) -> None:
    write(history, [story({**RISING, "w1": 0.1}), story({"w1": 0.1}, claim="t.b")], [*FIVE, "w1"])
    found = seen(history, {"v": FIVE, "w": ["w1"]})
    assert [(series.claim, series.lineage) for series in found.series] == [("t.a", "v"), ("t.a", "w"), ("t.b", "w")]
    assert found.lineages == {"v": tuple(FIVE), "w": ("w1",)}
    assert found.runs == 6


# -- which run stands for a version


def test_the_latest_run_stands_for_a_version(history: History) -> None:
    runs = write(history, [story({"v1": (0.1, 0.5), "v2": 0.1})], ["v1", "v2", "v1"])
    series = only(seen(history, {"v": ["v1", "v2"]}))
    assert [point.entry.run for point in series.points] == [runs[2], runs[1]]
    assert series.points[0].notes == ("the latest of 2 runs",)
    assert series.points[1].notes == ()


def test_of_several_runs_the_one_that_can_be_compared_stands(history: History) -> None:
    edited = {"prompts": "other"}
    first = stored(history, 1, renamed(counted(5), "v1", "a/v1"))
    stored(history, 2, renamed(counted(5, fingerprint=edited), "v1", "a/v1"))
    stored(history, 3, renamed(counted(9), "v2", "a/v2"))
    series = only(seen(history, {"v": ["v1", "v2"]}))
    assert series.points[0].entry.run == first
    assert series.points[1].breaks == ()
    assert series.points[0].notes == (
        f"run {first} of 2 runs; the latest, 20260102-000000-aa, does not stand for it: another experiment than the next "
        "version's",
    )
    # had the second version been measured with the edited prompts too, both would be those
    stored(history, 4, renamed(counted(9, fingerprint=edited), "v2", "a/v2"))
    later = only(seen(history, {"v": ["v1", "v2"]}))
    assert [point.entry.run for point in later.points] == ["20260102-000000-aa", "20260104-000000-aa"]


def test_what_was_not_measured_to_its_end_stands_for_nothing_that_was(history: History) -> None:
    good = stored(history, 1, renamed(counted(5), "v1", "a/v1"))
    unasked = [*observed([True] * 2), *(observation(n, None, exclusion=Exclusion.UNMEASURED) for n in range(2, 60))]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"fault": "503"}, "not measured: 503"),
        ({"stopped_at": 2, "looks": 5}, "stopped early, at look 2"),
        ({"observations": tuple(unasked)}, "not all of it was asked"),
    ]
    for day, (changed, why) in enumerate(cases, 2):
        stored(history, day, renamed(counted(50).model_copy(update=changed), "v1", "a/v1"))
        (point,) = only(seen(history, {"v": ["v1"]})).points
        assert (point.entry.run, point.counts) == (good, True)
        assert why in point.notes[0]


def test_a_version_of_which_only_a_part_was_asked_stands_with_a_note_and_a_doubt(history: History) -> None:
    part = [*observed([False] * 20), *(observation(n, None, exclusion=Exclusion.UNMEASURED) for n in range(20, 60))]
    stored(history, 1, renamed(counted(40), "v1", "a/v1"))
    stored(history, 2, renamed(record(part, gate=GATE), "v2", "a/v2"), complete=False)
    series = only(seen(history, {"v": ["v1", "v2"]}))
    assert series.points[1].notes == ("some of its replies were never asked for",)
    assert series.points[1].counts
    assert series.finding.value == -1.0, "of the twenty that both have"
    assert series.finding.direction == "unclear", "the other forty may be as they were"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"fault": "503"}, "not measured: 503"),
        ({"not_measured": "no grader"}, "not measured: no grader"),
        ({"stopped_at": 1, "looks": 5}, "stopped early, at look 1: what it shows then is no measure of the model"),
    ],
)
def test_what_was_not_measured_is_shown_and_carries_no_number(
    history: History, changed: dict[str, Any], why: str
) -> None:
    for day, version in enumerate(FIVE, 1):
        made = renamed(counted(6 * day), version, f"a/{version}")
        stored(history, day, made.model_copy(update=changed) if version == "v3" else made)
    series = only(seen(history, {"v": FIVE}))
    assert names(series) == FIVE
    assert [point.counts for point in series.points] == [True, True, False, True, True]
    assert series.points[2].notes == (why,)
    assert (series.points[2].step, series.points[2].breaks) == (None, ())
    assert (series.finding.kind, series.finding.since, series.finding.until) == ("change", "v1", "v5")
    assert series.points[3].step is not None
    assert series.points[3].step.value == pytest.approx(12 / 60), "from the last one that counts"


def test_a_verdict_about_the_baseline_does_not_take_the_level_away(history: History) -> None:
    """NOT_COMPARABLE says that the baseline is another experiment; the level was measured all the same."""
    gate = NotWorseThanBaseline(0.1, of="asked")
    for day, version in enumerate(("v1", "v2"), 1):
        rows = observed([True] * 20 * day + [False] * (60 - 20 * day))
        stored(history, day, renamed(record(rows, gate=gate), version, f"a/{version}"))
    series = only(seen(history, {"v": ["v1", "v2"]}))
    assert {point.entry.word for point in series.points} == {"NOT_COMPARABLE"}
    assert all(point.counts for point in series.points)
    assert series.finding.direction == "worse"


def test_conditions_that_share_no_item_have_no_number(history: History) -> None:
    apart = [o.model_copy(update={"pair": f"{o.condition} {o.pair}"}) for o in observed([True] * 30, condition="loud")]
    quiet = [
        o.model_copy(update={"pair": f"{o.condition} {o.pair}"}) for o in observed([False] * 30, condition="quiet")
    ]
    made = record([*apart, *quiet], gate=DifferenceAtMost(0.1, of="loud", over="quiet"), asked="v1", model="a/v1")
    stored(history, 1, made)
    (point,) = only(seen(history, {"v": ["v1"]})).points
    assert (point.counts, point.notes) == (False, ("its two conditions share no item",))
    assert only(seen(history, {"v": ["v1"]})).finding.sentence == "Nothing to compare: nothing of it was measured."


# -- breaks


@pytest.mark.parametrize("part", ["claim version", "prompts", "solver", "generation config", "scorer", "grader"])
def test_nothing_is_computed_across_a_break(history: History, part: str) -> None:
    """It looks like a trend, and is another experiment from the fourth version on."""
    write(history, [story(RISING, parts={"v4": part})], FIVE)
    series = only(seen(history, {"v": FIVE}))
    assert [point.breaks for point in series.points] == [(), (), (), (part,), ()]
    assert [point.step is None for point in series.points] == [True, False, False, True, False]
    assert (series.finding.kind, series.finding.since, series.finding.until) == ("change", "v4", "v5")
    last = seen(history, {"v": FIVE[:4]}).series[0]
    assert last.finding.kind == "nothing"
    assert last.finding.sentence == f"Nothing to compare yet: {part} changed at v4, and nothing came after."


def test_a_part_that_one_of_them_does_not_have_is_a_break(history: History) -> None:
    stored(history, 1, renamed(counted(5), "v1", "a/v1"))
    stored(history, 2, renamed(counted(5, fingerprint={"prompts": "0123456789abcdef", "imported": "x"}), "v2", "a/v2"))
    assert only(seen(history, {"v": ["v1", "v2"]})).points[1].breaks == ("imported",)


def test_another_effect_is_a_break_and_another_limit_is_none(history: History) -> None:
    rows = [*observed([True] * 30 + [False] * 30), *observed([False] * 60, condition="over")]
    gates = [
        GATE,
        RateAtMost(0.3, of="asked"),
        DifferenceAtMost(0.1, of="asked", over="over"),
        RateAtMost(0.1, of="over"),
    ]
    for day, gate in enumerate(gates, 1):
        stored(history, day, renamed(record(rows, gate=gate), f"v{day}", f"a/v{day}"))
    series = only(seen(history, {"v": FIVE[:4]}))
    assert [point.breaks for point in series.points] == [(), (), ("rule",), ("rule",)]


def test_a_grader_that_was_calibrated_once_is_a_break(history: History) -> None:
    stored(history, 1, renamed(counted(5), "v1", "a/v1"))
    labels = {"tp": 90, "fn": 10, "tn": 95, "fp": 5}
    stored(history, 2, renamed(counted(5, calibration=labels), "v2", "a/v2"))
    assert only(seen(history, {"v": ["v1", "v2"]})).points[1].breaks == ("calibration",)


@pytest.mark.parametrize(("shared", "breaks"), [(60, ()), (30, ()), (29, ("items",)), (0, ("items",))])
def test_other_items_under_the_same_fingerprint_are_a_break(
    history: History, shared: int, breaks: tuple[str, ...]
) -> None:
    """The fingerprint of a task of Inspect's names it, and not its data."""
    for day in range(1, 7):
        start = 0 if day <= 3 else 60 - shared
        rows = [observation(number, number % 3 == 0) for number in range(start, start + 60)]
        stored(history, day, renamed(record(rows, gate=GATE), f"v{day}", f"a/v{day}"))
    series = only(seen(history, {"v": [f"v{day}" for day in range(1, 7)]}))
    assert [point.breaks for point in series.points] == [(), (), (), breaks, (), ()]
    assert series.finding.kind == ("change" if breaks else "trend")


def test_what_was_lost_makes_no_strangers_of_items(history: History) -> None:
    few = [*observed([True] * 10), *(observation(n, None) for n in range(10, 60))]
    stored(history, 1, renamed(counted(40), "v1", "a/v1"))
    stored(history, 2, renamed(record(few, gate=GATE), "v2", "a/v2"))
    assert only(seen(history, {"v": ["v1", "v2"]})).points[1].breaks == ()


def test_the_served_model_of_versions_differs_and_breaks_nothing(history: History) -> None:
    write(history, [story(RISING)], FIVE, served={version: f"{version}-2026" for version in FIVE})
    series = only(seen(history, {"v": FIVE}))
    assert {point.entry.served for point in series.points} == {(f"{version}-2026",) for version in FIVE}
    assert all(point.breaks == () for point in series.points)


# -- nights


def test_three_runs_of_a_model_are_nights(history: History) -> None:
    write(history, [story({"x": 0.1})], ["x"] * 2)
    assert [series.kind for series in seen(history).series] == ["apart"]
    write(history, [story({"x": 0.1})], ["x"], first=FIRST_DAY + timedelta(days=5), seed=1)
    series = only(seen(history))
    assert (series.kind, series.lineage) == ("nights", None)
    assert names(series) == ["2026-01-05", "2026-01-06", "2026-01-10"]
    both = seen(history, {"x's": ["x"]})
    assert [(each.kind, each.lineage) for each in both.series] == [("versions", "x's"), ("nights", "x's")]


def test_several_runs_on_a_day_are_named_by_their_time(history: History) -> None:
    write(history, [story({"x": 0.1})], ["x"] * 3, every=timedelta(hours=16))
    assert names(only(seen(history))) == ["2026-01-05 03:00", "2026-01-05 19:00", "2026-01-06"]


def test_another_model_behind_the_same_name_is_a_break(history: History) -> None:
    served = {"x": ["x-january"] * 4 + ["x-february"]}
    write(history, [story({"x": [0.1] * 4 + [0.9]})], ["x"] * 10, served=served)
    series = only(seen(history))
    assert [point.breaks for point in series.points] == [()] * 4 + [("served model",)] + [()] * 5
    assert series.finding.since == "2026-01-09"
    assert series.finding.direction != "worse"


def test_a_night_that_nobody_answered_breaks_nothing(history: History) -> None:
    write(history, [story({"x": [0.1, 0.1, None, 0.1]})], ["x"] * 4, served={"x": "x-january"})
    series = only(seen(history))
    assert [point.counts for point in series.points] == [True, True, False, True]
    assert all(point.breaks == () for point in series.points)


def test_a_step_under_the_same_name_is_found(history: History) -> None:
    write(history, [story({"x": [0.1] * 8 + [0.6]}, prompts=80)], ["x"] * 14)
    finding = only(seen(history)).finding
    assert (finding.kind, finding.direction) == ("nightly", "worse")
    assert "a step on 2026-01-13" in finding.sentence
    assert [test.name for test in finding.tests] == ["CUSUM", "step"]


# -- numbers


def test_points_are_paired_on_items_whatever_was_scored(history: History) -> None:
    write(history, [story({"v1": 0.1, "v2": 0.4}, missing={"v1": 0.1, "v2": 0.2}, prompts=120)], ["v1", "v2"])
    series = only(seen(history, {"v": ["v1", "v2"]}))
    rows = [history.read(point.entry.run).records[0].observations for point in series.points]
    known = change_between(rows[1], rows[0], condition="asked", alpha=0.025)
    assert known is not None
    step, finding = series.points[1].step, series.finding
    assert step is not None
    assert (step.n, step.p_value) == (known.n, None)
    assert step.value == finding.value == pytest.approx(known.value)
    assert (finding.ci_low, finding.ci_high) == pytest.approx((known.lower, known.upper))
    assert finding.tests[0].p_value == pytest.approx(known.p_value)
    assert finding.p_value is not None
    assert known.p_value is not None
    assert finding.p_value >= known.p_value


def test_p_values_are_adjusted_over_all_series(history: History) -> None:
    hits = {"none": 5, "none-2": 5, "few": 11, "some": 14, "many": 40}  # of 60, 5 before: p is 1, .031, .0039 and less
    for day, (model, now) in enumerate((("a/v1", False), ("a/v2", True), ("a/w1", False), ("a/w2", True)), 1):
        changed = {"asked": model[2:], "model": model}
        rows = [counted(hit if now else 5, claim=f"t.{name}") for name, hit in hits.items()]
        stored(history, day, *(row.model_copy(update=changed) for row in rows))
    found = seen(history, {"v": ["v1", "v2"], "w": ["w1", "w2"]})
    ps = [series.finding.p_value or 0.0 for series in found.series]
    assert len(ps) == 10
    assert [series.finding.adjusted for series in found.series] == pytest.approx(multipletests(ps, method="fdr_bh")[1])
    says = {series.claim: series.finding for series in found.series if series.lineage == "v"}
    assert {claim: finding.direction for claim, finding in says.items()} == {
        "t.few": "unclear",
        "t.many": "worse",
        "t.none": "flat",
        "t.none-2": "flat",
        "t.some": "worse",
    }
    assert says["t.few"].p_value == pytest.approx(0.03125)
    assert "alone it would count as worse, but of so many series" in says["t.few"].sentence
    assert "adjusted for 10 series (Benjamini-Hochberg) p = 0.0098" in says["t.some"].sentence


def test_large_changes_on_few_items_rank_below_large_ones_on_many(history: History) -> None:
    sizes = {"many": (200, 20, 80), "few": (12, 1, 6), **{f"none-{n}": (200, 20, 20 + n) for n in range(6)}}
    for day, version in enumerate(("v1", "v2")):
        rows = [counted(hits[day], n=n, claim=f"t.{name}") for name, (n, *hits) in sizes.items()]
        stored(history, day + 1, *(renamed(row, version, f"a/{version}") for row in rows))
    found = {series.claim: series for series in seen(history, {"v": ["v1", "v2"]}).series}
    many, few = found["t.many"], found["t.few"]
    assert (many.finding.value, few.finding.value) == pytest.approx((0.3, 5 / 12))
    assert many.shrunk == pytest.approx(0.3, abs=0.05)
    assert few.shrunk is not None
    assert 0 < few.shrunk < 0.25, "it may be chance, and goes below"


def test_the_settings_margin_says_what_is_flat(history: History) -> None:
    write(history, [story({"v1": 0.05, "v2": 0.05}, prompts=200)], ["v1", "v2"])
    assert only(seen(history, {"v": ["v1", "v2"]})).finding.direction == "flat"
    strict = seen(history, {"v": ["v1", "v2"]}, margin=0.01)
    assert (only(strict).finding.direction, strict.margin) == ("unclear", 0.01)


def test_what_could_not_be_read_is_said(history: History) -> None:
    runs = write(history, [story({"v1": 0.1, "v2": 0.1})], ["v1", "v2"])
    Path(history.url, "runs", f"{runs[0]}.json.gz").write_bytes(b"damaged")
    found = seen(history, {"v": ["v1", "v2"]})
    assert (found.runs, names(only(found)), only(found).absent) == (1, ["v2"], ("v1",))
    (said,) = found.unreadable
    assert runs[0] in said


def test_an_empty_history_has_no_series(history: History) -> None:
    found = seen(history, {"v": FIVE})
    assert (found.series, found.runs, found.unreadable) == ((), 0, ())


def test_the_demonstration_tells_its_story(tmp_path: Path) -> None:
    history = History(str(tmp_path))
    demo(history)
    found = seen(history, DEMO_LINEAGES)
    told = {
        (series.claim, series.lineage or series.points[0].entry.asked, series.kind): series for series in found.series
    }
    says = {key: (series.finding.kind, series.finding.direction) for key, series in told.items()}
    assert says["refusals.sounds-harmful", "acme", "versions"] == ("trend", "worse")
    assert says["refusals.sounds-harmful", "birch", "versions"] == ("change", "better")
    assert says["tics.praises-the-question", "acme", "versions"] == ("trend", "better")
    assert says["facts.right", "acme", "versions"] == ("trend", "flat")
    assert says["few.prompts", "acme", "versions"] == ("trend", "unclear")
    assert says["audience.child-or-adult", "birch", "versions"] == ("change", "worse")
    assert says["tics.praises-the-question", "elm-nightly", "nights"] == ("nightly", "worse")
    assert told["edited.prompts", "acme", "versions"].points[3].breaks == ("prompts",)
    assert told["tics.praises-the-question", "cedar-latest", "nights"].points[12].breaks == ("served model",)
    assert says["few.prompts", "dune-preview", "apart"] == ("nothing", "unclear")
    for series in found.series:
        assert ("trend" in series.finding.sentence) <= (series.finding.kind == "trend"), series.finding.sentence
