"""`alignbench trends`: what moved first, drawn in a line, said below it; nothing in it acts on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from histories import DEMO_LINEAGES, FIRST_DAY, HOSTILE, Story, demo, write
from pytest_alignbench.cli import main
from pytest_alignbench.commands.trends import draws_blocks
from pytest_alignbench.history import History
from pytest_alignbench.index import Index
from pytest_alignbench.reports.moves import of_trends, scale, sparkline
from pytest_alignbench.settings import Settings
from pytest_alignbench.trends import Series, Trends, trends


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table is a table however long the names of temporary folders are."""
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> History:
    """The history of a project with a demonstration of everything."""
    root = tmp_path_factory.mktemp("project")
    lists = "\n".join(f"{name} = {list(versions)}" for name, versions in DEMO_LINEAGES.items())
    (root / "pyproject.toml").write_text(f"[tool.alignbench.lineages]\n{lists}\n")
    history = History(str(root / ".alignbench"))
    demo(history)
    Index(history).entries()
    return history


def alignbench(history: History, *args: str, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(Path(history.url).parent)
    return CliRunner().invoke(main, args)


def found(history: History) -> Trends:
    return trends(Index(history), Settings(lineages={name: list(v) for name, v in DEMO_LINEAGES.items()}))


def series(history: History, claim: str, lineage: str | None, kind: str = "versions") -> Series:
    (one,) = [s for s in found(history).series if (s.claim, s.lineage, s.kind) == (claim, lineage, kind)]
    return one


def test_what_moved_comes_first_with_its_sentence(told: History, monkeypatch: pytest.MonkeyPatch) -> None:
    done = alignbench(told, "trends", monkeypatch=monkeypatch)
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[0].startswith("trends of .alignbench: 3 worse, 2 better, ")
    rows = [line.split()[0] for line in lines[2:] if line and not line.startswith(" ")]
    order = {"worse": 0, "better": 1, "unclear": 2, "flat": 3, "–": 4, "Better": 5}
    assert [order[word] for word in rows] == sorted(order[word] for word in rows)
    for one in found(told).series:
        assert one.finding.sentence[:60] in done.output
    assert "acme-3: not measured: no reply of 'asked' could be scored" in done.output
    assert "acme-1: stopped early, at look 2" in done.output


def test_markdown_and_json_say_the_same(told: History, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = json.loads(alignbench(told, "trends", "--format", "json", monkeypatch=monkeypatch).output)
    known = found(told)
    assert (shape["kind"], shape["history"], shape["runs"]) == ("trends", ".alignbench", known.runs)
    assert [s["finding"]["sentence"] for s in shape["series"]] == [s.finding.sentence for s in known.series]
    text = alignbench(told, "trends", "--format", "markdown", monkeypatch=monkeypatch).output
    assert text.count("\n| ") == len(known.series) + 2
    assert "| **worse** | refusals.sounds-harmful | acme | " in text


@pytest.mark.parametrize(
    ("args", "claims", "where"),
    [
        (
            ("--claim", "sounds", "--claim", "facts"),
            {"refusals.sounds-harmful", "facts.right"},
            {"acme", "birch", None},
        ),
        (("--lineage", "birch", "--claim", "facts"), {"facts.right"}, {"birch"}),
        (("--model", "elm-nightly"), {"tics.praises-the-question", "feedback.uses-the-hint"}, {None}),
        (("--model", "acme/acme-3", "--claim", "facts"), {"facts.right"}, {"acme"}),
    ],
)
def test_choosing_shows_fewer_findings_and_changes_none(
    told: History, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], claims: set[str], where: set[str | None]
) -> None:
    shape = json.loads(alignbench(told, "trends", *args, "--format", "json", monkeypatch=monkeypatch).output)
    assert {s["claim"] for s in shape["series"]} == claims
    assert {s["lineage"] for s in shape["series"]} == where
    whole = {(s.claim, s.lineage, s.kind, s.points[0].name): s.finding.adjusted for s in found(told).series}
    for s in shape["series"]:
        assert s["finding"]["adjusted"] == whole[s["claim"], s["lineage"], s["kind"], s["points"][0]["name"]]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--claim", "nosuch"), "no claim whose id contains 'nosuch' has been measured on any model"),
        (("--lineage", "nosuch"), "no lineage 'nosuch'; there are: acme, birch"),
        (("--model", "nosuch"), "has been measured on nosuch"),
        (("--history", "nowhere"), "holds no run yet"),
    ],
)
def test_what_is_not_there_is_said(
    told: History, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], said: str
) -> None:
    done = alignbench(told, "trends", *args, monkeypatch=monkeypatch)
    assert (done.exit_code, said in done.output) == (2, True), done.output


def test_nothing_in_it_acts_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    history = History(str(tmp_path / ".alignbench"))
    for number, hostile in enumerate(HOSTILE[:4]):
        name = f"m{number} {hostile[:80]}"
        write(history, [Story("t.a", {name: 0.2}, prompts=20, replies=HOSTILE)], [name], seed=number)
    done = alignbench(history, "trends", monkeypatch=monkeypatch)
    assert done.exit_code == 0, done.output
    assert "m3" in done.output
    assert not set(done.output) & {"\x1b", "\x07", "\x00", "\u202e", "\ud83d", "\u2028"}


# -- sparklines


def test_a_sparkline_is_on_the_scale_of_its_claim(told: History) -> None:
    acme, birch = (series(told, "refusals.sounds-harmful", lineage) for lineage in ("acme", "birch"))
    low, high = scale([acme, birch])
    assert (low, high) == (0.0, max(p.entry.effect.value for p in acme.points if p.entry.effect))
    assert len(sparkline(acme.points, (low, high))) == 6
    assert sparkline(acme.points, (low, high))[-1] == "█"
    assert sparkline(birch.points, (low, high)) < sparkline(acme.points[-1:], (low, high)) * 3
    assert sparkline(acme.points, (low, high), blocks=False)[-1] == "@"
    assert sparkline(acme.points, (low, high), blocks=False).isascii()
    limits = [limit for p in series(told, "audience.child-or-adult", "acme").points for limit in p.entry.limits]
    assert scale([series(told, "audience.child-or-adult", "acme")])[0] <= min(limits) == -0.1


def test_breaks_and_points_without_a_number_are_drawn(told: History) -> None:
    edited = series(told, "edited.prompts", "acme")
    drawn = sparkline(edited.points, (0.0, 0.5))
    assert (len(drawn), drawn[3]) == (7, " ")
    outage = series(told, "outage.once", "acme")
    assert sparkline(outage.points, (0.0, 0.5))[2] == "·"
    assert sparkline(outage.points, (0.0, 0.5), blocks=False)[2] == "?"
    assert sparkline(outage.points[:1], (0.0, 0.0)) == "▁", "a claim whose levels, limit and all are 0"


@pytest.mark.parametrize(
    ("encoding", "blocks"), [("utf-8", True), ("cp437", False), ("ascii", False), ("latin-1", False), ("nosuch", False)]
)
def test_blocks_are_for_terminals_that_have_them(encoding: str, blocks: bool) -> None:
    assert draws_blocks(encoding) is blocks


def test_a_page_without_blocks_says_the_same(told: History) -> None:
    known = found(told)
    plain, drawn = of_trends(known, blocks=False), of_trends(known)
    assert [row.cells[:3] for row in plain.rows] == [row.cells[:3] for row in drawn.rows]
    assert all(row.cells[3].isascii() for row in plain.rows)
    assert plain.shape == drawn.shape


def test_what_is_known_of_several_points_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.alignbench.lineages]\nv = ["v1", "v2", "v3"]\n')
    history = History(str(tmp_path / ".alignbench"))
    write(history, [Story("t.a", {"v1": None, "v2": 0.1, "v3": None}, prompts=20)], ["v1", "v2", "v3"])
    output = alignbench(history, "trends", monkeypatch=monkeypatch).output
    assert "v1, v3: not measured: no reply of 'asked' could be scored: 503 service unavailable" in output
    assert "Nothing to compare yet: v2 is the only one that was measured." in output


def test_versions_without_a_record_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.alignbench.lineages]\nv = ["v1", "v2", "v3"]\n')
    history = History(str(tmp_path / ".alignbench"))
    write(history, [Story("t.a", {"v1": 0.1, "v3": 0.1}, prompts=20)], ["v1", "v3"], first=FIRST_DAY)
    assert "without a record: v2" in alignbench(history, "trends", monkeypatch=monkeypatch).output
