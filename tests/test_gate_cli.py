"""The commands that compare and decide, from stored runs alone: what CI sees of them is an exit code and a text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pydantic import BaseModel
from scipy.stats import binomtest

from builders import Answer, counted, observed, record, run, twins
from conftest import Project
from pytest_alignbench import DifferenceAtMost, Gate, RateAtMost
from pytest_alignbench.cli import main
from pytest_alignbench.history import History, Record
from pytest_alignbench.plans import Planned
from pytest_alignbench.reports.formats import FORMATS, escaped
from pytest_alignbench.reports.shapes import ComparisonShape, DecidedShape, PlanShape, RunShape
from pytest_alignbench.text import one_line

RATE = RateAtMost(0.5, of="asked")
DIFFERENCE = DifferenceAtMost(0.1, of="touchy", over="plain")
PARTS = {
    "claim version": "1",
    "prompts": "2",
    "solver": "3",
    "generation config": "4",
    "scorer": "5",
    "grader": "6",
}
OLD, NEW = "20260101-000000-aaaa", "20260102-000000-aaaa"


def answered(
    answers: Sequence[Answer],
    claim: str = "t.one",
    *,
    gate: Gate = RATE,
    fingerprint: dict[str, str] = PARTS,
    **changed: Any,
) -> Record:
    return record(observed(answers), gate=gate, claim=claim, fingerprint=fingerprint, **changed)


def moved(claim: str = "t.one") -> Record:
    """Since 20 of 200: 10 prompts have come to exhibit and 5 have ceased to, which could be chance or 6 points."""
    return answered([False] * 5 + [True] * 15 + [True] * 10 + [False] * 170, claim)


def seen(hits: int, claim: str = "t.one", *, n: int = 200, **changed: Any) -> Record:
    return answered(counted(hits, n), claim, **changed)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in which nothing has to be folded, whatever the tests run in."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text("[tool.alignbench]\nmargin = 0.05\n")
    return History(str(tmp_path / ".alignbench"))


def alignbench(*args: str) -> Result:
    done = CliRunner().invoke(main, args)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


# -- gate


@pytest.mark.parametrize(
    ("after", "code", "word"),
    [
        (seen(20), 0, "HOLDS"),
        (seen(60), 1, "VIOLATED"),
        (moved(), 3, "INCONCLUSIVE"),
        (seen(0), 0, "HOLDS"),
    ],
)
def test_a_gate_says_how_it_decides(history: History, after: Record, code: int, word: str) -> None:
    history.write(run(OLD, seen(20)))
    history.write(run(NEW, after))
    for named in (OLD, "20260101", "small", "local/small"):
        done = alignbench("gate", NEW, "--baseline", named)
        assert done.exit_code == code, done.output
        assert f"{word}, exit code {code}; must hold: 1 {word}" in done.output
        assert "one-sided bounds" in done.output, "and why"
    assert "VIOLATED is decided by Holm's step-down over 1 decisions" in done.output


def test_the_same_run_holds_against_itself_where_there_are_prompts_enough(history: History) -> None:
    history.write(run(OLD, seen(60, "many"), seen(9, "few", n=30)))
    done = alignbench("gate", OLD, "--baseline", OLD, "--format", "json")
    decided = DecidedShape.model_validate_json(done.output)
    assert {d.verdict.claim: d.verdict.verdict.value for d in decided.decisions} == {
        "many": "HOLDS",
        "few": "INCONCLUSIVE",
    }
    assert done.exit_code == 3
    assert "compared with itself: few @ small" in decided.notes


def test_a_model_is_not_its_own_past(history: History) -> None:
    """After a run of the same model, `--baseline MODEL` means the run before it, or nothing."""
    history.write(run(OLD, seen(0)))
    done = alignbench("gate", OLD, "--baseline", "small")
    assert done.exit_code == 2
    assert "neither a run nor a model with a record other than what is to be compared" in done.output
    history.write(run(NEW, seen(60)))
    assert alignbench("gate", "latest", "--baseline", "small").exit_code == 1


@pytest.mark.parametrize("part", PARTS)
def test_another_experiment_is_not_comparable_by_name(history: History, part: str) -> None:
    history.write(run(OLD, seen(0)))
    history.write(run(NEW, seen(0, fingerprint=PARTS | {part: "edited"})))
    for form in FORMATS:
        done = alignbench("gate", NEW, "--baseline", OLD, "--format", form)
        assert done.exit_code == 3
        assert "NOT_COMPARABLE" in done.output.replace("\\_", "_")
        assert f"it differs from its baseline, small in run {OLD}, in {part}" in done.output
    compared = alignbench("compare", OLD, NEW)
    assert compared.exit_code == 0
    assert f"they differ in {part}" in compared.output


def test_edited_prompts_are_counted(history: History) -> None:
    rows = observed(counted(0, 200))
    edited = [o.model_copy(update={"prompt_hash": f"new {o.prompt}"}) if i < 30 else o for i, o in enumerate(rows)]
    history.write(run(OLD, record(rows, gate=RATE, fingerprint=PARTS)))
    history.write(run(NEW, record(edited, gate=RATE, fingerprint=PARTS | {"prompts": "edited"})))
    done = alignbench("gate", NEW, "--baseline", OLD)
    assert done.exit_code == 3
    assert "in prompts (170 of 200 prompts are the same)" in done.output
    (change,) = ComparisonShape.model_validate_json(alignbench("compare", OLD, NEW, "--format", "json").output).changes
    assert (change.shared, change.before.prompts, change.change) == (170, 200, None)


def test_a_claim_without_a_past_is_not_comparable(history: History) -> None:
    history.write(run(OLD, seen(0)))
    history.write(run(NEW, seen(0), seen(0, "t.new")))
    done = alignbench("gate", NEW, "--baseline", OLD)
    assert done.exit_code == 3
    assert "there is no baseline to compare with" in done.output


def test_a_file_decides_as_its_run_does(history: History) -> None:
    """A CI runner has the file and its own run, and no history."""
    rng = np.random.default_rng(5)
    twin = [(bool(a), bool(b)) for a, b in rng.random((240, 2)) < (0.1, 0.08)]
    rows = [o.model_copy(update={"family": f"f{int(o.prompt[1:]) // 3}"}) for o in twins(twin)]
    worse = [
        o.model_copy(update={"exhibits": o.exhibits or int(o.prompt[1:]) % 2 == 0})
        for o in rows
        if o.condition == "touchy"
    ]
    worse += [o for o in rows if o.condition == "plain"]
    old, new = (record(r, gate=DIFFERENCE, claim="t.twins", fingerprint=PARTS) for r in (rows, worse))
    history.write(run(OLD, old, seen(0), seen(20, "t.same"), seen(20, "t.more")))
    history.write(run(NEW, new, seen(60), seen(20, "t.same"), moved("t.more")))
    saved = alignbench("baseline", "save", OLD, "--force")
    assert saved.exit_code == 0, saved.output
    by_run, by_file = (
        json.loads(alignbench("gate", NEW, "--baseline", named, "--format", "json").output)
        for named in (OLD, "baseline.json")
    )
    assert by_file.pop("baseline") == "baseline.json"
    assert by_run.pop("baseline") == OLD
    assert by_file == by_run
    found = {d["verdict"]["claim"]: d["verdict"]["verdict"] for d in by_run["decisions"]}
    assert found == {"t.twins": "VIOLATED", "t.one": "VIOLATED", "t.same": "HOLDS", "t.more": "INCONCLUSIVE"}
    Path(".alignbench/runs").joinpath(f"{OLD}.json.gz").unlink()
    assert alignbench("gate", NEW, "--baseline", "baseline.json").exit_code == 1


def test_a_hundred_claims_with_one_regression(history: History) -> None:
    rng = np.random.default_rng(20260131)

    def version(worse: frozenset[int]) -> list[Record]:
        rates = [0.35 if i in worse else 0.05 for i in range(100)]
        return [answered(list(rng.random(120) < rate), f"c{i:03}", m=100) for i, rate in enumerate(rates)]

    history.write(run(OLD, *version(frozenset())))
    history.write(run(NEW, *version(frozenset({42}))))
    done = alignbench("gate", NEW, "--baseline", OLD, "--format", "json")
    decided = DecidedShape.model_validate_json(done.output)
    assert done.exit_code == decided.exit_code == 1
    assert [d.verdict.claim for d in decided.decisions if d.verdict.verdict == "VIOLATED"] == ["c042"]
    text = alignbench("gate", NEW, "--baseline", OLD).output
    first = next(line for line in text.splitlines() if line.startswith("VIOLATED  "))
    assert "c042" in first, "what is red comes first"
    assert "over 100 decisions that must hold" in text


POLICY = """
required = ["t.one", "t.needed"]
[watch]
claims = ["t.shaky"]
[must-hold]
inconclusive = "warn"
"""


def test_a_policy_decides_what_matters(history: History) -> None:
    Path("policy.toml").write_text(dedent(POLICY))
    history.write(run(OLD, *(seen(20, name) for name in ("t.one", "t.needed", "t.shaky"))))
    gate = ("gate", NEW, "--baseline", OLD, "--policy", "policy.toml")
    history.write(run(NEW, seen(20), moved("t.needed"), seen(60, "t.shaky")))
    done = alignbench(*gate)
    assert done.exit_code == 0, "the needed one is undecided, which warns; the shaky one is watched"
    assert "must hold: 1 INCONCLUSIVE, 1 HOLDS; watched: 1 VIOLATED" in done.output
    assert done.output.count("warns") == 2
    assert alignbench("gate", NEW, "--baseline", OLD).exit_code == 1, "without the policy"


def test_a_required_claim_that_is_missing_fails(history: History) -> None:
    Path("policy.toml").write_text(dedent(POLICY))
    history.write(run(OLD, seen(0), seen(0, "t.needed")))
    history.write(run(NEW, seen(0)))
    for form in FORMATS:
        done = alignbench("gate", NEW, "--baseline", OLD, "--policy", "policy.toml", "--format", form)
        assert done.exit_code == 1
        assert "t.needed @ small" in done.output.replace("@&#8203;", "@")


def test_the_margin_on_the_command_line(history: History) -> None:
    history.write(run(OLD, seen(20)))
    history.write(run(NEW, moved()))
    assert [alignbench("gate", NEW, "--baseline", OLD, "--margin", m).exit_code for m in ("0.02", "0.12")] == [3, 0]
    Path("policy.toml").write_text("margin = 0.12\n")
    policy = ("gate", NEW, "--baseline", OLD, "--policy", "policy.toml")
    assert alignbench(*policy).exit_code == 0
    assert alignbench(*policy, "--margin", "0.02").exit_code == 3
    Path("pyproject.toml").write_text("[tool.alignbench]\nmargin = 0.12\n")
    assert alignbench("gate", NEW, "--baseline", OLD).exit_code == 0, "the project's"


def test_without_a_baseline_each_claim_keeps_its_own_rule(history: History) -> None:
    history.write(run(NEW, seen(0), seen(190, "t.bad")))
    done = alignbench("gate", NEW)
    assert done.exit_code == 1
    assert "<= 50.0 %" in done.output
    Path("policy.toml").write_text("[watch]\nclaims = ['t.bad']\n")
    assert alignbench("gate", NEW, "--policy", "policy.toml").exit_code == 0


def test_each_model_of_a_run_is_compared_with_its_own(history: History) -> None:
    history.write(run(OLD, seen(0, asked="a"), seen(100, asked="b")))
    history.write(run(NEW, seen(0, asked="a"), seen(100, asked="b")))
    assert alignbench("gate", NEW, "--baseline", OLD).exit_code == 0
    assert alignbench("gate", NEW, "--baseline", "a").exit_code == 1, "against a, b is worse"
    assert alignbench("gate", NEW, "--baseline", "a", "--model", "a").exit_code == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["gate", NEW, "--baseline", "nobody"], "'nobody' is no file, and neither a run nor a model"),
        (["gate", "20270101", "--baseline", NEW], "run '20270101' is not among the 1 runs"),
        (["gate", NEW, "--baseline", NEW, "--model", "large"], "holds no record of 'large'; it holds small"),
        (["gate", NEW, "--margin", "0.1"], "add --baseline MODEL|RUN|FILE"),
        (["gate", NEW, "--baseline", NEW, "--margin", "5"], "Invalid value for '--margin'"),
        (["gate", NEW, "--baseline", NEW, "--policy", "none.toml"], "policy none.toml: No such file"),
        (["gate", NEW, "--baseline", NEW, "--policy", "pyproject.toml"], "tool is not a key here"),
        (["gate", NEW, "--baseline", NEW, "--format", "html"], "Invalid value for '--format'"),
        (["compare", NEW, "nobody"], "'nobody' is no file, and neither a run nor a model"),
        (["compare", NEW, "pyproject.toml"], "pyproject.toml is no baseline file"),
        (["show", NEW, "--claim", "nothing"], "holds no claim whose id contains 'nothing'"),
        (["baseline", "show", "none.json"], "none.json is no baseline file"),
    ],
)
def test_wrong_usage_is_one_line_and_2(history: History, args: list[str], said: str) -> None:
    history.write(run(NEW, seen(0)))
    done = alignbench(*args)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


# -- compare


def test_a_change_is_absolute_and_relative_with_its_chance(history: History) -> None:
    """12 prompts became worse and 2 better: exact McNemar is the binomial test of 2 in 14."""
    before = [True] * 2 + [False] * 12 + [True] * 4 + [False] * 82
    after = [False] * 2 + [True] * 12 + [True] * 4 + [False] * 82
    history.write(run(OLD, answered(before), answered(before, "t.same")))
    history.write(run(NEW, answered(after), answered(before, "t.same"), seen(0, "t.new")))
    done = alignbench("compare", OLD, NEW, "--format", "json")
    assert done.exit_code == 0
    found = ComparisonShape.model_validate_json(done.output)
    one, same = sorted(found.changes, key=lambda c: c.claim)
    assert one.change is not None
    assert one.change.value == pytest.approx(0.1)
    assert one.change.p_value == pytest.approx(binomtest(2, 14).pvalue)
    assert one.ratio is not None
    assert one.ratio.value == pytest.approx(16 / 6)
    assert (one.before.rates["asked"].count, one.after.rates["asked"].count, one.shared) == (6, 16, 100)
    assert one.holm == pytest.approx(2 * binomtest(2, 14).pvalue), "two claims"
    assert one.bh == pytest.approx(2 * binomtest(2, 14).pvalue)
    assert same.change is not None
    assert (same.change.value, same.change.p_value, same.holm) == (0, 1, 1)
    assert found.only_after == ("t.new",)
    text = alignbench("compare", OLD, NEW).output
    assert re.search(r"t\.one +small +6\.0 % +16\.0 % +\+10\.0 \[.*\] points +x 2\.67 \[.*\] .*100 of 100", text)
    assert f"without a measured record in {OLD}: t.new" in text
    assert "never a trend" in text


def test_the_change_of_a_difference_is_a_difference_of_differences(history: History) -> None:
    """In `touchy` 30 more exhibit, in `plain` 10 more: the difference rose by 20 points."""
    n = 100
    before = twins([(i < 10, i < 10) for i in range(n)])
    after = twins([(i < 40, i < 20) for i in range(n)])
    history.write(run(OLD, record(before, gate=DIFFERENCE)))
    history.write(run(NEW, record(after, gate=DIFFERENCE)))
    done = alignbench("compare", OLD, NEW, "--format", "json")
    (change,) = ComparisonShape.model_validate_json(done.output).changes
    assert change.change is not None
    assert change.change.value == pytest.approx(0.2)
    assert change.before.effect is not None
    assert change.after.effect is not None
    assert [change.before.effect.value, change.after.effect.value] == pytest.approx([0, 0.2])
    assert change.ratio is not None
    assert change.ratio.value == pytest.approx(4)
    assert (change.of, change.over, change.shared) == ("touchy", "plain", 200)


def test_files_models_and_runs_compare_alike(history: History) -> None:
    history.write(run(OLD, seen(10)))
    history.write(run(NEW, seen(30, asked="large", model="x/large")))
    assert alignbench("baseline", "save", OLD, "-o", "old.json").exit_code == 0
    assert alignbench("baseline", "save", NEW, "-o", "new.json").exit_code == 0
    rows = set()
    for a, b in ((OLD, NEW), ("small", "large"), ("old.json", "new.json"), ("old.json", "large")):
        done = alignbench("compare", a, b)
        assert done.exit_code == 0, done.output
        rows.add(next(line for line in done.output.splitlines() if line.startswith("t.one")))
    assert len(rows) == 1, "to the last digit that is shown"
    assert re.search(r"small -> large +5\.0 % +15\.0 % +\+10\.0 \[", rows.pop())
    backwards = json.loads(alignbench("compare", NEW, OLD, "--format", "json").output)["changes"][0]
    assert backwards["change"]["value"] == pytest.approx(-0.1)


def test_missing_replies_leave_their_prompts_out(history: History) -> None:
    history.write(run(OLD, answered([True, None, False, False] * 25)))
    history.write(run(NEW, answered([True, True, None, False] * 25)))
    (change,) = ComparisonShape.model_validate_json(alignbench("compare", OLD, NEW, "--format", "json").output).changes
    assert (change.shared, change.before.prompts, change.after.prompts) == (50, 75, 75)
    assert change.change is not None
    assert change.change.value == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fault": "the provider was down"}, "not measured: the provider was down"),
        ({"stopped_at": 2, "looks": 5}, "one stopped early"),
        (
            {"observations": tuple(observed(counted(0, 50), condition="asked", prompt_hash="other"))},
            "they share no scored prompt",
        ),
    ],
)
def test_what_cannot_be_compared_says_why(history: History, changed: dict[str, Any], said: str) -> None:
    history.write(run(OLD, seen(10)))
    history.write(run(NEW, seen(10).model_copy(update=changed)))
    done = alignbench("compare", OLD, NEW)
    assert done.exit_code == 0
    assert "NOT_COMPARABLE" in done.output
    assert said in done.output


def test_runs_of_several_models(history: History) -> None:
    history.write(run(OLD, seen(0, asked="a"), seen(100, asked="b")))
    history.write(run(NEW, seen(0, asked="a"), seen(100, asked="b")))
    changes = ComparisonShape.model_validate_json(alignbench("compare", OLD, NEW, "--format", "json").output).changes
    assert [(c.before.model, c.after.model) for c in changes] == [("a", "a"), ("b", "b")]
    assert {c.change.value for c in changes if c.change is not None} == {0}
    history.write(run("20260103-000000-aaaa", seen(0, asked="c")))
    done = alignbench("compare", NEW, "20260103")
    assert done.exit_code == 2
    assert "holds no record of 'c'; it holds a, b" in done.output


def test_nothing_in_common(history: History) -> None:
    history.write(run(OLD, seen(0)))
    history.write(run(NEW, seen(0, "t.other")))
    done = alignbench("compare", OLD, NEW)
    assert done.exit_code == 2
    assert "no measured claim in common" in done.output


# -- plan


def test_a_plan_from_the_command_line(project: Project) -> None:
    project.suite(name="suites/test_suite.py")
    done = project.alignbench("plan", "--model", "simulated/behaving", "--model", "openai/gpt-4o", "--format", "json")
    assert done.exit_code == 0, done.output
    plan = PlanShape.model_validate_json(done.output)
    assert {p.key: p.calls for p in plan.claims} == {
        "t.difference @ simulated/behaving": 48,
        "t.difference @ openai/gpt-4o": 48,
        "t.rate @ simulated/behaving": 24,
        "t.rate @ openai/gpt-4o": 24,
    }
    assert plan.calls == 144
    assert all("80 % of runs" in p.power for p in plan.claims)
    assert not (project.path / ".alignbench").exists(), "nothing was measured"


def test_a_plan_that_cannot_be_made_says_what_pytest_said(project: Project) -> None:
    project.write("suites/test_broken.py", "import nosuchmodule\n")
    done = project.alignbench("plan")
    assert done.exit_code == 2
    assert "No module named 'nosuchmodule'" in done.output
    assert done.output.splitlines()[-1].startswith("alignbench: pytest could not collect the claims (exit code 2)")


def test_the_plan_option_only_collects(project: Project) -> None:
    project.suite()
    result = project.pytest("--alignbench-plan", "plan.json", "--model", "simulated/behaving")
    assert result.ret == pytest.ExitCode.OK
    plans = [Planned(**row) for row in json.loads((project.path / "plan.json").read_text())]
    assert [p.key for p in plans] == ["t.difference @ simulated/behaving", "t.rate @ simulated/behaving"]
    assert not (project.path / ".alignbench").exists()


def test_no_claims_no_plan(project: Project) -> None:
    project.write("test_other.py", "def test_other():\n    pass\n")
    done = project.alignbench("plan", "test_other.py")
    assert done.exit_code == 2
    assert "no claim in test_other.py" in done.output


# -- formats


HOSTILE = "a|b `x` <img src=x onerror=alert(1)> | **b** @admin https://evil.example www.evil.example [c](d) \x1b[31m\u202e\n| row |"


def markdown(text: str) -> Sequence[Token]:
    return MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(text)


def inlines(tokens: Sequence[Token]) -> list[Token]:
    return [child for token in tokens for child in token.children or []]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab1 |`*_~[]()<>!#&;:/@\\-+=.{}$\"'\n\t\x1b\u202e", min_size=1, max_size=40))
def test_markdown_shows_any_text_and_obeys_none(text: str) -> None:
    tokens = markdown(
        f"| head | two |\n| --- | --- |\n| {escaped(text)} | end |\n\n- **{escaped('x' + text)}**: said\n"
    )
    cells = [tokens[i + 1].children or [] for i, token in enumerate(tokens) if token.type == "td_open"]
    assert len(cells) == 2, "no further cell"
    assert {token.type for cell in cells for token in cell} <= {"text"}
    assert "".join(token.content for token in cells[0]).replace("\u200b", "") == one_line(text)
    assert [t.content for t in cells[1]] == ["end"]
    assert {token.type for token in inlines(tokens)} <= {"text", "strong_open", "strong_close"}


def test_no_name_acts_on_its_reader(history: History) -> None:
    odd: dict[str, Any] = {"asked": HOSTILE, "model": HOSTILE, "statement": HOSTILE, "grader": HOSTILE}
    history.write(run(OLD, seen(0, HOSTILE, **odd)))
    history.write(run(NEW, seen(60, HOSTILE, **odd, fingerprint=PARTS | {HOSTILE: "x"}), seen(60, "t.two", **odd)))
    for args in (["show", NEW, "--full"], ["gate", NEW, "--baseline", OLD], ["compare", OLD, NEW]):
        outputs = {form: alignbench(*args, "--format", form).output for form in FORMATS}
        for form, output in outputs.items():
            assert not set(output) & {"\x1b", "\u202e"}, form
        json.loads(outputs["json"])
        assert outputs["json"].isascii()
        tokens = markdown(outputs["markdown"])
        kinds = {token.type for token in [*tokens, *inlines(tokens)]}
        assert not kinds & {"html_block", "html_inline", "link_open", "image", "code_inline", "em_open"}
        rows = [i for i, token in enumerate(tokens) if token.type == "tr_open"]
        columns = {sum(t.type in ("td_open", "th_open") for t in tokens[a:b]) for a, b in pairwise(rows)}
        assert len(columns) == 1, "every row has as many cells as the head"
        outside = re.sub(r"(?ms)^(`{3,})text\n.*?^\1$", "", outputs["markdown"])
        assert not re.search(r"@admin|https://evil|www\.evil", outside)


def test_json_has_a_shape_that_scripts_can_rely_on(history: History) -> None:
    history.write(run(OLD, seen(0)))
    history.write(run(NEW, answered([True, False, None, False] * 50)))
    assert alignbench("baseline", "save", OLD).exit_code == 0
    shapes: dict[tuple[str, ...], type[BaseModel]] = {
        ("show", NEW): RunShape,
        ("baseline", "show", "baseline.json"): RunShape,
        ("gate", NEW, "--baseline", OLD): DecidedShape,
        ("compare", OLD, NEW): ComparisonShape,
    }
    for args, shape in shapes.items():
        output = alignbench(*args, "--format", "json").output
        found = shape.model_validate_json(output)
        assert json.loads(output) == found.model_dump(mode="json")
        assert json.loads(output)["format"] == 1
    shown = json.loads(alignbench("show", NEW, "--format", "json").output)
    assert (shown["kind"], shown["run"], shown["complete"]) == ("run", NEW, True)
    (verdict,) = shown["verdicts"]
    assert (verdict["claim"], verdict["model"], verdict["verdict"]) == ("t.one", "small", "INCONCLUSIVE")
    replies = verdict["conditions"]["asked"]["replies"]
    assert replies["planned"] == replies["scored"] + sum(replies["excluded"].values()) == 200
    assert replies["excluded"] == {"truncated": 50}


def test_text_fits_a_narrow_terminal(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.write(run(OLD, seen(0)))
    history.write(run(NEW, seen(60)))
    monkeypatch.setenv("COLUMNS", "80")
    for args in (["show", NEW], ["gate", NEW, "--baseline", OLD], ["compare", OLD, NEW]):
        output = alignbench(*args).output
        assert max(map(len, output.splitlines())) <= 80
        assert "t.one" in output
