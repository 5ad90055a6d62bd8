"""What GitHub is told: annotations, summaries and comments of bounded size, and not one command by what a model said."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from builders import counted, observed, record, run
from conftest import Project
from pytest_alignbench import RateAtMost
from pytest_alignbench.cli import main
from pytest_alignbench.history import History, Record
from pytest_alignbench.policies import Decided, Policy, decide
from pytest_alignbench.reports.documents import DOCUMENTS
from pytest_alignbench.reports.formats import FORMATS
from pytest_alignbench.reports.github import (
    COMMENT_LIMIT,
    MARKER,
    SUMMARY_LIMIT,
    Annotation,
    annotate,
    comment,
    of_decision,
    of_verdicts,
    prefix_of,
    summary,
)
from pytest_alignbench.text import one_line, visible
from pytest_alignbench.verdicts import judge

OLD, NEW = "20260101-000000-aaaa", "20260102-000000-aaaa"
GATE = RateAtMost(0.5, of="asked")


# -- as GitHub's runner reads a log (actions/runner, src/Runner.Common/ActionCommand.cs)


@dataclass(frozen=True)
class Command:
    name: str
    properties: dict[str, str]
    data: str


def command(line: str) -> Command | None:
    """Any name counts, though the runner knows a dozen."""
    trimmed = line.lstrip()
    if trimmed.startswith("::"):
        end = trimmed.find("::", 2)
        name, _, given = trimmed[2:end].partition(" ")
        if end > 0 and re.fullmatch(r"[\w-]+", name):
            pairs = [pair.split("=", 1) for pair in given.strip().split(",") if "=" in pair]
            escapes = ("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")
            return Command(name, {k: _unescaped(v, escapes) for k, v in pairs}, _unescaped(trimmed[end + 2 :], escapes))
    older = re.search(r"##\[([\w-]+)[^\]]*\](.*)", line)
    return Command(older[1], {}, older[2]) if older else None


def _unescaped(text: str, escapes: Sequence[tuple[str, str]]) -> str:
    for escape, character in escapes:
        text = text.replace(escape, character)
    return text


def commands(log: str) -> list[Command]:
    return [found for line in re.split(r"\r\n|\r|\n", log) if (found := command(line)) is not None]


def test_the_reader_of_these_tests_reads_commands() -> None:
    assert commands("a\n  ::error file=a%2Cb,line=3::x%0Ay%2525\n") == [
        Command("error", {"file": "a,b", "line": "3"}, "x\ny%25")
    ]
    assert [c.name for c in commands("fine\r::stop-commands::x\nand ##[add-mask]y")] == ["stop-commands", "add-mask"]
    assert commands("a::error::b\n:: error::\n## [x]") == []


HOSTILE = (
    "::error::pwned\n  ::set-output name=a::b\r::stop-commands::x\x1b[0m::add-mask::e\u2028::warning::w\n##[add-mask]a and "
    + "y" * 150
    + "::notice::n ::group::g ##[group]h"
)


# -- annotations


def seen(claim: str = "t.one", hits: int = 0, **changed: object) -> Record:
    return record(
        observed(counted(hits, 200)), gate=GATE, claim=claim, **{"file": "suites/test_a.py", "line": 7, **changed}
    )


def decided(*records: Record, policy: Policy | None = None, complete: bool = True) -> Decided:
    made = run(NEW, *records).model_copy(update={"complete": complete})
    return decide(made, policy=policy or Policy(), margin=0.05)


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet=":,%#[]=\r\n\ta0AD2Cé\x1b ", max_size=40),
    st.text(alphabet=":,%#[]=\r\n\ta0AD2Cé\x1b ", max_size=40),
)
def test_an_annotation_is_one_command_whatever_it_says(title: str, text: str) -> None:
    line = str(Annotation(level="error", title=f"x{title}", text=text, file="a,b:c%d.py", line=3))
    (found,) = commands(line)
    assert found.name == "error"
    assert {"file": "a,b:c%d.py", "line": "3"}.items() <= found.properties.items()
    assert found.properties["title"] == one_line(f"x{title}")
    assert found.data == visible(text)


def test_violated_is_an_error_and_undecided_a_warning() -> None:
    down = seen("t.down", fault="the provider was down").model_copy(update={"observations": ()})
    records = [seen("t.good"), seen("t.bad", 190), seen("t.open", 100), down]
    found = commands("\n".join(annotate(of_verdicts([judge(r) for r in records]))))
    assert [(c.name, c.properties["title"]) for c in found] == [
        ("error", "VIOLATED: t.bad @ small"),
        ("error", "ERROR: t.down @ small"),
        ("warning", "INCONCLUSIVE: t.open @ small"),
    ]
    assert {(c.properties["file"], c.properties["line"]) for c in found} == {("suites/test_a.py", "7")}
    assert "95 % interval" in found[0].data
    assert "allowed: at most 50.0 % of replies in 'asked'" in found[0].data


def test_a_gate_annotates_what_it_makes_of_claims() -> None:
    policy = Policy.model_validate(
        {
            "watch": {"claims": ["w.*"], "inconclusive": "pass"},
            "required": ["t.gone"],
            "must-hold": {"inconclusive": "warn"},
        }
    )
    records = [seen("t.bad", 190), seen("w.bad", 190), seen("t.open", 100), seen("w.open", 100), seen("t.good")]
    found = commands("\n".join(annotate(of_decision(decided(*records, policy=policy, complete=False)))))
    assert [(c.name, c.properties["title"]) for c in found] == [
        ("error", "missing: t.gone"),
        ("error", "VIOLATED: t.bad @ small"),
        ("warning", f"run {NEW} is incomplete"),
        ("warning", "VIOLATED: w.bad @ small"),
        ("warning", "INCONCLUSIVE: t.open @ small"),
    ]


def test_no_more_annotations_than_are_shown_and_the_last_names_the_rest() -> None:
    lines = list(annotate(of_verdicts([judge(seen(f"t.c{i:02}", 190)) for i in range(25)])))
    assert len(lines) == 10
    last = commands(lines[-1])[0]
    assert last.properties["title"] == "and 16 more"
    assert last.data.splitlines() == [f"VIOLATED: t.c{i:02} @ small" for i in range(9, 25)]
    assert len(list(annotate(of_verdicts([judge(seen(f"t.c{i}", 190)) for i in range(10)])))) == 10


def test_paths_are_from_the_repository(tmp_path: Path) -> None:
    (tmp_path / "evals" / "deep").mkdir(parents=True)
    workspace = {"GITHUB_WORKSPACE": str(tmp_path)}
    assert prefix_of(tmp_path, workspace) == ""
    assert prefix_of(tmp_path / "evals" / "deep", workspace) == "evals/deep/"
    assert prefix_of(tmp_path / "evals", {}) == ""
    assert prefix_of(tmp_path, {"GITHUB_WORKSPACE": str(tmp_path / "evals")}) == ""
    (line,) = annotate(of_verdicts([judge(seen(hits=190))], prefix="evals/"))
    assert commands(line)[0].properties["file"] == "evals/suites/test_a.py"


# -- summaries and comments


def test_a_comment_says_in_three_lines_what_matters() -> None:
    text = comment(decided(seen("t.bad", 190), seen("t.open", 100), seen("t.good"), seen("t.fine", 2)))
    lines = text.splitlines()
    assert lines[0] == MARKER
    assert lines[1] == "### Model behaviour: violated"
    assert re.fullmatch(r"- \*\*Violated \(1\)\*\*: t\.bad 95\.0 \\\[9.*\\\] % \(allowed: &lt;= 50\.0 %\)", lines[3])
    assert re.fullmatch(r"- \*\*Cannot be told \(1\)\*\*: t\.open 50\.0 \\\[.*", lines[4])
    assert re.fullmatch(r"- \*\*Holds \(2\)\*\*: t\.(fine|good) .*; t\.(fine|good) .*", lines[5])
    assert "<details><summary>All 4 claims, with intervals and p-values</summary>" in lines
    assert sum(line.startswith("| ") for line in lines) == 2 + 4
    assert lines[-1] == f"Run {NEW}, exit code 1."


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    Path("pyproject.toml").write_text("[tool.alignbench]\nmargin = 0.05\n")
    return History(str(tmp_path / ".alignbench"))


def alignbench(*args: str) -> Result:
    done = CliRunner().invoke(main, args)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_one_gate_writes_everything_that_a_workflow_needs(history: History) -> None:
    history.write(run(OLD, seen(hits=20), seen("t.two")))
    history.write(run(NEW, seen(hits=90), seen("t.two")))
    Path("summary.md").write_text("before\n")
    gate = ("gate", NEW, "--baseline", OLD, "--format", "github", "--summary", "summary.md", "--comment", "comment.md")
    done = alignbench(*gate)
    assert done.exit_code == 1
    (found,) = commands(done.output)
    assert (found.name, found.properties["title"]) == ("error", "VIOLATED: t.one @ small")
    assert f"compared with small in run {OLD}" in found.data
    assert done.output.startswith(f"gate on run {NEW} against {OLD}\nVIOLATED, exit code 1")
    said = Path("comment.md").read_text()
    assert f"### Model behaviour against {OLD}: violated" in said
    assert "**Worse (1)**: t.one +35.0" in said
    assert "**No worse (1)**: t.two +0.0" in said
    assert f"Compared with small in run {OLD}." in said
    added = Path("summary.md").read_text()
    assert added.startswith("before\n### Model behaviour")
    assert MARKER not in added
    assert alignbench(*gate).exit_code == 1
    assert Path("summary.md").read_text() == added + added.removeprefix("before\n"), "a job's page is added to"
    assert Path("comment.md").read_text() == said, "a comment is replaced"
    refused = alignbench("gate", NEW, "--comment", "no/such/folder.md")
    assert refused.exit_code == 2
    assert "no/such/folder.md cannot be written: No such file" in refused.output


@pytest.mark.parametrize(("make", "limit"), [(comment, COMMENT_LIMIT), (summary, SUMMARY_LIMIT)])
@pytest.mark.parametrize("name", ["t.a-claim-with-a-long-name", "@<&" * 60, "é😀" * 60])
def test_sizes_are_below_what_github_takes(make: object, limit: int, name: str) -> None:
    verdict = decided(*(seen(f"{name}{i}", 100 if i % 2 else 190, asked=name, model=name) for i in range(40)))
    many = verdict.decisions * 25
    whole = Decided(
        run=NEW,
        baseline=name,
        decisions=many,
        missing=(name,) * 1000,
        complete=False,
        alpha=0.05,
        m=1000,
        notes=(name,) * 1000,
    )
    text = make(whole)  # type: ignore[operator]
    assert len(text.encode()) <= limit
    assert "**Violated (500)**" in text or "**Worse (500)**" in text
    assert len(make(verdict).encode()) <= limit  # type: ignore[operator]


def test_a_table_is_cut_at_the_least_important_rows() -> None:
    whole = decided(*(seen(f"t.c{i:04}", 190 if i == 999 else 0) for i in range(1000)))
    text = comment(whole)
    assert COMMENT_LIMIT * 0.95 < len(text.encode()) <= COMMENT_LIMIT
    shown = re.search(r"<summary>The first (\d+) of 1000 claims", text)
    assert shown is not None
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == int(shown[1]) > 100
    assert "t.c0999" in rows[0]
    assert text.count("</details>") == 1
    assert len(summary(whole).encode()) > 2 * COMMENT_LIMIT


def test_a_comment_shows_any_name_and_obeys_none() -> None:
    odd = "a|b `x` <img src=x> --> </details> <!-- y --> **b** @admin https://evil.example [c](d)\n- ::error::z\n# h"
    text = comment(
        decided(*(seen(f"{odd}{i}", hits, asked=odd, model=odd, statement=odd) for i, hits in enumerate((0, 100, 190))))
    )
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    html = [t.content.strip() for t in tokens if t.type == "html_block"]
    assert html == [MARKER, "<details><summary>All 3 claims, with intervals and p-values</summary>", "</details>"]
    inner = {child.type for token in tokens for child in token.children or []}
    assert inner <= {"text", "strong_open", "strong_close", "softbreak"}
    assert commands(text) == []
    assert not re.search(r"@admin|https://", text)


# -- nothing that was said is a command


def test_no_output_of_ours_holds_a_command(history: History) -> None:
    replies = observed(counted(190, 200), reply=HOSTILE, reason=HOSTILE, label=HOSTILE, served_model=HOSTILE)
    odd: dict[str, object] = {
        "asked": HOSTILE,
        "model": HOSTILE,
        "statement": HOSTILE,
        "served": (HOSTILE,),
        "grader": HOSTILE,
    }

    def bad(claim: str, **changed: object) -> Record:
        return record(replies, gate=GATE, claim=claim, **{**odd, **changed})

    history.write(run(OLD, bad(HOSTILE), bad("t.two"), bad("t.three")))
    history.write(run(NEW, bad(HOSTILE), bad("t.two", fault=HOSTILE), bad("t.three", fingerprint={HOSTILE: "x"})))
    gate = ("gate", NEW, "--baseline", OLD)
    for args in (("show", NEW, "--full"), ("show", NEW), gate, ("compare", OLD, NEW), ("gate", NEW)):
        for form in FORMATS:
            output = alignbench(*args, "--format", form).output
            assert "pwned" in output
            assert commands(output) == [], (args, form)
            if form == "json":
                assert f'"{HOSTILE}"' in json.dumps(json.loads(output), default=str).encode().decode("unicode_escape")
    done = alignbench(*gate, "--format", "github", "--summary", "s.md", "--comment", "c.md")
    assert {c.name for c in commands(done.output)} == {"error", "warning"}
    assert all(line.startswith(("::error ", "::warning ")) for line in done.output.splitlines() if command(line))
    assert commands(Path("s.md").read_text() + Path("c.md").read_text()) == []
    for ending in DOCUMENTS.keys() - {"png"}:
        report = alignbench("report", "--format", ending, "-o", "-").output
        assert ending == "svg" or "pwned" in report
        assert commands(report) == [], ending
    for stored in (["trends"], ["history", "list"], ["history", "show", NEW], ["history", "verify"]):
        for form in FORMATS:
            assert commands(alignbench(*stored, "--format", form).output) == [], (stored, form)
    assert commands(alignbench("baseline", "save", NEW, "--force").output) == []
    assert commands(alignbench("show", f"{NEW}\n::error::x").output) == []


@pytest.mark.parametrize("mode", [(), ("-n", "2"), ("-s", "-rA", "-v"), ("--alignbench-inconclusive=warn", "-rs")])
def test_no_output_of_pytest_holds_a_command_of_a_model(project: Project, mode: tuple[str, ...]) -> None:
    text = ascii(f"No. {HOSTILE}")
    start = ascii(f"{HOSTILE} No.")
    project.suite(
        f"difference(replies=replies(no={text})), rate(replies=replies(no={start}, yes={HOSTILE!a})), "
        "rate('t.broken', scorer=quotes())"
    )
    project.write(
        "made.py",
        (project.path / "made.py").read_text()
        + f"""
@scorer(metrics=[mean()])
def quotes():
    async def score(state, target):
        return Score(value="perhaps", explanation={text})

    return score
""",
    )
    models = ("--model", "simulated/misbehaving", "--model", "simulated/effect-0.3")
    result = project.pytest(*mode, *models, "--junitxml=out.xml")
    printed = result.stdout.str() + result.stderr.str()
    assert "pwned" in printed
    assert commands(printed) == []
    annotated = project.pytest(*mode, *models, "--alignbench-annotations")
    found = commands(annotated.stdout.str())
    assert {c.name for c in found} == {"error", "warning"}
    titles = [c.properties["title"] for c in found]
    assert "VIOLATED: t.difference @ simulated/misbehaving" in titles
    assert "ERROR: t.broken @ simulated/misbehaving" in titles


# -- JUnit


def properties(node: ElementTree.Element) -> dict[str, str]:
    return {str(p.get("name")): str(p.get("value")) for p in node.findall("properties/property")}


@pytest.mark.parametrize("mode", [(), ("-n", "2"), ("-n", "1", "--alignbench-shard=2/2", "--alignbench-group=g")])
def test_junit_tells_of_the_run_and_of_each_claim(project: Project, mode: tuple[str, ...]) -> None:
    text = f"No. {HOSTILE}"
    project.suite(f"difference(replies=replies(no={text!a})), rate()")
    assert project.pytest("--model", "simulated/behaving").ret == pytest.ExitCode.OK
    before = project.run().id
    against = ("--alignbench-baseline", before, "--alignbench-margin=0.4")
    project.pytest(*mode, "--model", "simulated/misbehaving", *against, "--junitxml=out.xml")
    root = ElementTree.parse(project.path / "out.xml").getroot()
    (suite,) = root.iter("testsuite")
    run = project.history.read("latest")
    of_run = properties(suite)
    assert of_run["alignbench.run"] in (run.id, *run.parts)
    assert (of_run["alignbench.models"], of_run["alignbench.baseline"]) == ("simulated/misbehaving", before)
    assert (of_run["alignbench.m"], of_run["alignbench.alpha"]) == ("2", "0.05")
    sharded = mode[2:] != ()
    assert of_run.get("alignbench.shard") == ("2/2" if sharded else None)
    assert of_run.get("alignbench.group") == ("g" if sharded else None)
    cases = {properties(case)["alignbench.claim"]: properties(case) for case in root.iter("testcase")}
    assert set(cases) == ({"t.rate"} if sharded else {"t.rate", "t.difference"})
    for claim in cases.values():
        assert claim["alignbench.run"] == of_run["alignbench.run"]
        assert claim["alignbench.verdict"] == "VIOLATED"
        assert claim["alignbench.compared-to"] == f"simulated/behaving in run {before}"
        assert "worse than the baseline" in claim["alignbench.allowed"]
        low, high = map(float, claim["alignbench.interval"].split())
        assert 0 < low < float(claim["alignbench.effect"]) < high <= 2


def test_a_record_knows_where_its_claim_is(project: Project) -> None:
    source = """
        import pytest
        from made import *

        CLAIMS = [
            rate(
                "t.written",
            ),
            difference(),
        ]

        @pytest.mark.parametrize("claim", CLAIMS)
        def test_claim(claim, verdict):
            assert verdict.holds, verdict.explanation
        """
    project.write("suites/deep/test_here.py", source)
    project.pytest("--model", "simulated/misbehaving", "suites")
    records = project.records()
    places = {r.claim: (r.file, r.line) for r in records.values()}
    assert places == {"t.written": ("suites/deep/test_here.py", 7), "t.difference": ("suites/deep/test_here.py", 12)}
