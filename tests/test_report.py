"""The report as files: what is said comes from the values, is harmless where it stands, and asks nobody for anything."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import struct
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from markdown_it import MarkdownIt

from histories import HOSTILE, Story, write
from measured import example, finding, point, series, trends
from pytest_alignbench.cli import main
from pytest_alignbench.estimates import Relative
from pytest_alignbench.gates import Outcome
from pytest_alignbench.history import History
from pytest_alignbench.observations import Tally
from pytest_alignbench.reports import charts, overviews
from pytest_alignbench.reports.documents import DOCUMENTS, without_replies
from pytest_alignbench.reports.html import as_html
from pytest_alignbench.text import visible
from pytest_alignbench.trends import Test as Tested
from pytest_alignbench.trends import Trends

WRITTEN = "2026-11-21T14:25:30+00:00"
SVG = "{http://www.w3.org/2000/svg}"


_INLINE = {"a", "b", "code", "i", "path", "circle", "span", "svg", "time", "wbr"}


class Page(HTMLParser):
    """What a browser would make of the file: every start tag with its attributes, and the text outside style and script."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.text = " ".join("".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.append("" if tag in _INLINE else " ")
        self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        self.raw.get(inside, self.texts).append(data)

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [a for name, a in self.tags if name == tag and all(a.get(k) == v for k, v in attributes.items())]


@pytest.fixture(scope="module")
def found() -> Trends:
    return example()


@pytest.fixture(scope="module")
def page(found: Trends) -> Page:
    return Page(as_html(found, written=WRITTEN))


# -- what it says


def test_the_overview_says_what_moved_what_is_red_and_what_nobody_can_say(found: Trends) -> None:
    overview = overviews.overview_of(found)
    assert [(kind, [(s.claim, s.lineage) for s in moved]) for kind, moved in overview.moved.items()] == [
        ("trend", [("refusals.sounds-harmful", "acme")]),
        ("nightly", [("refusals.oppose", None)]),
    ]
    red = {(now.entry.claim, now.entry.asked): now.since for now in overview.worded("VIOLATED")}
    assert red == {
        ("refusals.oppose", "boreal-6"): "boreal-4",
        ("refusals.oppose", "dune"): "dune",
        ("refusals.sounds-harmful", "acme-6"): "acme-6",
    }
    unsure = [(now.entry.asked, now.entry.word) for now in overview.worded("ERROR", "INCONCLUSIVE")]
    assert unsure == [("boreal-6", "ERROR"), ("acme-6", "INCONCLUSIVE")]
    # The nights of acme-6 end with the model that the lineage ends with: it is not counted twice.
    assert sum(overview.counts.values()) == 8
    assert {s.claim for s in overview.flat} == {"feedback.known", "refusals.oppose", "refusals.sounds-harmful"}


def test_what_moved_most_for_all_that_is_known_comes_first_whatever_its_point() -> None:
    def moved(claim: str, value: float, shrunk: float) -> tuple[str, float, float]:
        return claim, value, shrunk

    rows = [moved("t.large-of-few", 0.6, 0.05), moved("t.sure", -0.2, -0.18), moved("t.small", 0.1, 0.09)]
    made = trends(
        *(
            series(
                claim,
                [point("acme-1"), point("acme-2")],
                shrunk=shrunk,
                finding=finding(kind="change", direction="worse", value=value, since="acme-1", until="acme-2"),
            )
            for claim, value, shrunk in rows
        )
    )
    order = ["t.sure", "t.small", "t.large-of-few"]
    assert [s.claim for s in overviews.overview_of(made).moved["change"]] == order
    assert re.findall(r'data-name="([^"]+)"', as_html(made)) == order


def test_the_page_shows_every_number_of_every_point(found: Trends, page: Page) -> None:
    for s in found.series:
        if s.kind != "apart":
            assert s.finding.sentence in page.text
        for p in s.points:
            e = p.entry
            assert p.name in page.text
            assert e.why in page.text
            assert e.run in page.text
            if e.effect is not None:
                assert overviews.effect_of(e) in page.text
            for arm in e.conditions.values():
                assert f"{arm.replies.exhibiting}/{arm.replies.scored}" in page.text
            tallies = [Tally.total(arm.replies for arm in e.conditions.values())]
            tallies += [arm.replies for arm in e.conditions.values() if arm.replies.excluded]
            for tally in tallies:
                said = "".join(f" + {n} {cause.value}" for cause, n in tally.excluded.items())
                assert f"{tally.planned} planned = {tally.scored} scored{said}" in page.text
            for part, hash in e.fingerprint.items():
                assert part in page.text
                assert hash in page.text
            for reply in e.telling:
                assert reply.text in page.text
                assert reply.reason in page.text
    for said in (
        "Written 2026-11-21 14:25:30 UTC from 1 run in .alignbench",
        "acme acme-1 → acme-2 → acme-3 → acme-4 → acme-5 → acme-6",
        "the latest verdicts: 3 VIOLATED, 1 ERROR, 1 INCONCLUSIVE, 3 HOLDS",
        "worse +5.8 points per version [+4.1, +7.5]",
        "break before boreal-4: grader, served model",
        "none of 240 replies could be scored: the key was refused",
        "240 planned = 0 scored + 240 errored",
        "touchy: 120 planned = 0 scored + 120 errored",
        "HOLDS at one-sided alpha 0.05, VIOLATED at 0.05/12",
        "pytest-alignbench 0.1.0",
        "acme-20260101",
        "No lineage lists these models",
    ):
        assert said in page.text, said


def test_what_a_point_has_besides_is_said() -> None:
    step = point("acme-1").entry.effect
    assert step is not None
    changed = finding(
        kind="change",
        direction="worse",
        value=0.1,
        ci_low=0.05,
        ci_high=0.15,
        relative=Relative(value=1.5, ci_low=1.2, ci_high=1.9, method="ratio"),
        since="acme-1",
        until="acme-2",
        p_value=0.0012,
        adjusted=0.0034,
        tests=(Tested(name="no change", statistic=-2.5, p_value=0.0012, method="paired"),),
        sentence="Worse by 10 points.",
    )
    second = point("acme-2", (0.2, 0.1), grader="local/grader", calibration={"tp": 90, "fn": 10, "tn": 95, "fp": 5})
    second = second.model_copy(update={"step": step, "notes": ("the last of 2 runs",)})
    one = series("t.one", [point("acme-1"), second], finding=changed).model_copy(update={"absent": ("acme-3",)})
    text = Page(as_html(trends(one))).text
    for said in (
        "change from before",
        "+0.0 points [",
        "the last of 2 runs",
        "Not measured: acme-3",
        "× 1.50 [1.20, 1.90]",
        "p = 0.0012 of all that the finding asks for, 0.0034 adjusted for all series",
        "no change -2.5 0.0012 paired",
        "local/grader, sensitivity 0.90 and specificity 0.95 on 200 labelled replies",
        "ratio of touchy to plain",
    ):
        assert said in text, said


def test_an_empty_history_makes_a_page_that_says_so() -> None:
    text = Page(as_html(trends())).text
    assert "The history holds no claim yet" in text
    assert "Nothing was shown to move" in text
    for form, document in DOCUMENTS.items():
        assert isinstance(document(trends()), bytes), form


def test_replies_can_be_left_out_of_every_document(found: Trends) -> None:
    assert b"I cannot help with that" in DOCUMENTS["html"](found)
    for form, document in DOCUMENTS.items():
        assert b"I cannot help with that" not in document(without_replies(found)), form
    assert "It holds no replies" in as_html(without_replies(found))


# -- it is one file, and nothing in it runs but its own script


def test_nothing_is_asked_of_the_network(page: Page) -> None:
    """No attribute that makes a browser fetch, and no link but to places in the page."""
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "video", "audio", "image", "form a:"}
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in {"src", "srcset", "action", "formaction", "ping", "background", "style"}, (tag, name)
            if name.endswith("href"):
                assert value is not None
                assert value.startswith("#"), (tag, value)
    for source in page.raw["style"]:
        assert "url(" not in source
        assert "@import" not in source
    ids = [str(a["id"]) for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {str(a["href"])[1:] for a in page.all("a")} <= set(ids)


def test_the_policy_allows_the_pages_own_style_and_script_by_hash_and_nothing_else(page: Page) -> None:
    [policy] = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))

    def hash(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    [style], [script] = page.raw["style"], page.raw["script"]
    assert rules == {
        "default-src": "'none'",
        "style-src": hash(style),
        "script-src": hash(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # A browser reads the policy before anything that it is about.
    names = [tag for tag, _ in page.tags]
    assert names.index("meta") < names.index("style")


def hostile(text: str) -> Trends:
    """A history in which everything that others may write says `text`."""
    p = point(text, (0.5, 0.02), breaks=())
    told = p.entry.telling[0].model_copy(update=dict.fromkeys(("prompt", "condition", "label", "reason", "text"), text))
    arm = p.entry.conditions["touchy"]
    changed: dict[str, object] = dict.fromkeys(
        ("run", "started", "claim", "statement", "asked", "model", "grader", "why", "allowed", "power"), text
    )
    changed |= {"served": (text,), "notes": (text,), "fingerprint": {text: text}, "versions": {text: text}}
    changed |= {"telling": (told,), "uses": (text, "plain"), "conditions": {text: arm, "plain": arm}}
    entry = p.entry.model_copy(update=changed)
    second = point(text).model_copy(update={"entry": entry, "breaks": (text,), "notes": (text,)})
    points = [point("first").model_copy(update={"entry": entry}), second]
    said = finding(kind="trend", direction="worse", value=0.1, since=text, until=text, sentence=text)
    made = series(text, points, lineage=text, statement=text, finding=said)
    return trends(made, series(text, points, lineage=None, kind="nights"), history=text, unreadable=(text,))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text_in_the_page(text: str) -> None:
    text = text.encode("utf-8", "backslashreplace").decode()  # as the index keeps it
    html = as_html(hostile(text))
    calm, read = Page(as_html(hostile("calm"))), Page(html)
    assert [tag for tag, _ in read.tags if tag != "wbr"] == [tag for tag, _ in calm.tags if tag != "wbr"]
    assert [sorted(a) for tag, a in read.tags if tag != "wbr"] == [sorted(a) for tag, a in calm.tags if tag != "wbr"]
    assert read.raw == calm.raw
    assert " ".join(visible(text).split()) in read.text
    assert not set("\x00\x07\x1b\u200b\u202e\u2028\u2029\x85") & set(html)
    html.encode()


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text_in_every_other_document(text: str) -> None:
    made = hostile(text.encode("utf-8", "backslashreplace").decode())
    for form in ("md", "json", "csv", "svg"):
        written = DOCUMENTS[form](made).decode()
        assert not set("\x00\x07\x1b\u200b\u202e\u2028\u2029\x85") & set(written), form
    markdown = MarkdownIt("commonmark").enable("table").parse(DOCUMENTS["md"](made).decode())
    inner = [token for block in markdown for token in (block, *(block.children or []))]
    assert not {"html_block", "html_inline", "link_open", "image"} & {token.type for token in inner}
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(DOCUMENTS["svg"](made)).iter()}
    assert tags <= {"svg", "g", "rect", "path", "line", "text", "circle"}


# -- the charts


def marks(svg: str, colour: str) -> list[str]:
    """The points of this colour in the plot: their shapes."""
    root = ElementTree.fromstring(svg)
    return [str(e.get("d")) for e in root.iter(f"{SVG}path") if e.get("stroke") == colour and e.get("fill") != "none"]


def test_outcomes_differ_in_shape_and_not_in_colour_alone() -> None:
    look = charts.PICTURE
    words = [*(outcome.value for outcome in Outcome), "ERROR"]
    assert set(words) == set(charts.SHAPES)
    points = [point(f"v{i}", word=word) for i, word in enumerate(words)]
    svg = charts.effect(series("t.one", points), look=look)
    drawn = {e.get("d") for e in ElementTree.fromstring(svg).iter(f"{SVG}path") if e.get("stroke-width") == "1.6"}
    assert len(drawn) == len(words)


def test_a_break_is_a_gap_with_its_label_and_models_in_no_order_are_never_joined() -> None:
    look = charts.PICTURE

    def lines(svg: str) -> list[int]:
        """Of each line, through how many points it goes."""
        root = ElementTree.fromstring(svg)
        drawn = [e for e in root.iter(f"{SVG}path") if e.get("stroke") == look.quiet and e.get("fill") is None]
        return [len(re.findall("[ML]", str(e.get("d")))) for e in drawn]

    points = [point(f"acme-{i}", seed=i) for i in range(1, 7)]
    assert lines(charts.effect(series("t.one", points), look=look)) == [6]
    points[3] = points[3].model_copy(update={"breaks": ("grader",)})
    torn = charts.effect(series("t.one", points), look=look)
    assert lines(torn) == [3, 3]
    assert ">grader</text>" in torn
    apart = series("t.one", points, lineage=None, kind="apart")
    assert [n for n in lines(charts.effect(apart, look=look)) if n > 1] == []


def test_a_point_that_does_not_count_is_shown_and_no_line_leads_to_it() -> None:
    points = [point(f"acme-{i}", seed=i) for i in range(1, 4)]
    points[1] = points[1].model_copy(update={"counts": False})
    svg = charts.effect(series("t.one", points), look=charts.PICTURE)
    root = ElementTree.fromstring(svg)
    line = [e for e in root.iter(f"{SVG}path") if e.get("stroke") == charts.PICTURE.quiet and e.get("fill") is None]
    assert "L" not in "".join(str(e.get("d")) for e in line).replace("L0,0", "")
    assert sum(e.get("stroke-width") == "1.6" for e in root.iter(f"{SVG}path")) == 3


def test_pictures_of_one_claim_have_one_scale() -> None:
    low, high = charts.scale_of([series("t.one", [point("a", (0.0, 0.0))]), series("t.one", [point("b", (0.9, 0.0))])])
    assert low < 0 < 80 < high
    shared = [charts.effect(series("t.one", [point("a", (0.0, 0.0))]), scale=(low, high))]
    alone = charts.effect(series("t.one", [point("a", (0.0, 0.0))]))
    assert ">80</text>" in shared[0]
    assert ">80</text>" not in alone


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["acme-1", "acme-2"], ["acme-1", "acme-2"]),
        (["vendor/model-large-2026-01", "vendor/model-large-2026-02"], ["…01", "…02"]),
        (["one-that-is-far-too-long-to-be-shown", "b"], ["…g-to-be-shown", "b"]),
    ],
)
def test_labels_of_the_axis_are_short_and_tell_versions_apart(names: list[str], labels: list[str]) -> None:
    svg = charts.effect(series("t.one", [point(name) for name in names]))
    for label in labels:
        assert f">{label}</text>" in svg


def test_charts_have_what_a_page_can_colour_and_no_style_that_its_policy_refuses(page: Page) -> None:
    svgs = page.all("svg", role="img")
    assert len(svgs) == 12
    for tag, attributes in page.tags:
        assert "style" not in attributes, tag
        if attributes.get("fill", "none") not in ("none", "transparent"):
            assert str(attributes["fill"]).startswith("var(--"), (tag, attributes)
    assert page.text.count("with 95 % intervals, from") == 12


# -- the other documents


def test_a_spreadsheet_gets_a_row_per_point_and_never_a_formula(found: Trends) -> None:
    rows = list(csv.DictReader(io.StringIO(DOCUMENTS["csv"](found).decode())))
    assert len(rows) == sum(len(s.points) for s in found.series)
    first, entry = rows[0], found.series[0].points[0].entry
    assert entry.effect is not None
    assert float(first["value"]) == entry.effect.value
    assert first["limits"] == "0.1"
    assert (first["condition_1"], first["exhibiting_1"], first["scored_1"]) == ("touchy", "5", "120")
    assert int(first["planned"]) == int(first["scored"]) + sum(
        int(first[c]) for c in ("errored", "truncated", "empty", "filtered", "limit", "grader-failed", "unmeasured")
    )
    for text in ("=cmd|' /C calc'!A0", "+1+2", "-2+3", "@SUM(A1)", "\t=1", " =1", "＝1"):
        for row in csv.DictReader(io.StringIO(DOCUMENTS["csv"](hostile(text)).decode())):
            for name, cell in row.items():
                assert not re.match(r"[=+@＝＋－＠\s]|-(?![\d.]+(e-?\d+)?$)", cell), (name, cell)


def test_json_is_the_trends(found: Trends) -> None:
    read = json.loads(DOCUMENTS["json"](found))
    assert (read["format"], read["kind"]) == (1, "trends")
    assert Trends.model_validate({name: read[name] for name in Trends.model_fields}) == found


def test_markdown_is_short_and_says_the_same(found: Trends) -> None:
    said = DOCUMENTS["md"](found).decode()
    assert "| refusals.sounds-harmful | acme | acme-1 → acme-6 | **worse** +5.8 points per version" in said
    assert "- **refusals.oppose** on dune: VIOLATED." in said
    assert "- **feedback.known** on acme-6: INCONCLUSIVE." in said
    many = trends(*(series(f"t.claim-{i}", [point("acme-1", (0.9, 0.0))]) for i in range(30)))
    lines = DOCUMENTS["md"](many).decode().splitlines()
    assert len(lines) < 50
    assert "And 10 more." in lines


def test_the_sheet_has_a_picture_of_each_series_and_becomes_dots(found: Trends) -> None:
    svg = DOCUMENTS["svg"](found)
    root = ElementTree.fromstring(svg)
    assert len(root.findall(f"{SVG}svg")) == len(found.series)
    text = " ".join(e.text or "" for e in root.iter(f"{SVG}text"))
    for s in found.series:
        assert s.claim in text
    assert b"var(" not in svg
    png = DOCUMENTS["png"](found)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (2 * int(str(root.get("width"))), 2 * int(str(root.get("height"))))


# -- the command


def alignbench(*args: str) -> Result:
    return CliRunner().invoke(main, ["report", *args])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """Two lineages, three claims, in the project that the command runs in."""
    names = {"acme": ["acme-1", "acme-2"], "birch": ["birch-1", "birch-2"]}
    (tmp_path / "pyproject.toml").write_text(
        "[tool.alignbench.lineages]\n" + "\n".join(f"{name} = {versions}" for name, versions in names.items())
    )
    monkeypatch.chdir(tmp_path)
    history = History(str(tmp_path / ".alignbench"))
    models = [version for versions in names.values() for version in versions]
    rates = dict(zip(models, (0.02, 0.4, 0.02, 0.02), strict=True))
    stories = [Story(claim, rates, prompts=60) for claim in ("t.first", "t.second")]
    stories.append(Story("u.hostile", rates, prompts=60, replies=HOSTILE))
    write(history, stories, models)
    return history


def test_the_page_is_made_from_the_history(store: History, tmp_path: Path) -> None:
    done = alignbench()
    assert done.exit_code == 0
    assert done.output.startswith("report.html: 3 claims in 6 series, from 4 runs, ")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    text = Page(html).text
    assert "from 4 runs in .alignbench" in text
    assert "acme acme-1 → acme-2" in text
    assert "Worse: from acme-1 to acme-2 it went from" in text
    assert str(tmp_path) not in html, "the folders it was made in are nobody's business"
    # Again, in place of what is there; a run that cannot be read is named in it.
    path = tmp_path / ".alignbench" / "runs" / f"{store.runs()[0]}.json.gz"
    path.write_bytes(path.read_bytes()[:-20])
    assert alignbench().exit_code == 0
    assert "Runs that could not be read" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not list(tmp_path.glob(".report*"))


@pytest.mark.parametrize("form", DOCUMENTS)
def test_the_format_is_that_of_the_name_or_as_asked(store: History, tmp_path: Path, form: str) -> None:
    beginnings = {
        "html": b"<!doctype html>",
        "md": b"# Beh",
        "json": b"{\n",
        "csv": b"claim,",
        "svg": b"<svg ",
        "png": b"\x89PNG",
    }
    for args, file in (((f"--output=made.{form}",), f"made.{form}"), (("--format", form), f"report.{form}")):
        assert alignbench(*args).exit_code == 0
        assert (tmp_path / file).read_bytes().lstrip().startswith(beginnings[form])
    assert alignbench("-o", "-", "--format", form).stdout_bytes.lstrip().startswith(beginnings[form])
    assert not (tmp_path / "-").exists()


def test_it_is_opened_where_that_is_asked(store: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("click.launch", opened.append)
    assert alignbench("--format", "md").exit_code == 0
    assert opened == []
    assert alignbench("--format", "md", "--open").exit_code == 0
    assert opened == [str(tmp_path / "report.md")]


def test_less_of_it_can_be_shown_and_changes_no_finding(store: History) -> None:
    def shown(*args: str) -> dict[tuple[str, str], object]:
        read = json.loads(alignbench("--format", "json", "-o", "-", *args).output)
        return {(s["claim"], s["lineage"]): s["finding"] for s in read["series"]}

    whole = shown()
    assert len(whole) == 6
    for args, keys in (
        (("--claim", "t."), {key for key in whole if key[0] != "u.hostile"}),
        (("--claim", "first", "--claim", "host"), {key for key in whole if key[0] != "t.second"}),
        (("--lineage", "birch"), {key for key in whole if key[1] == "birch"}),
        (("--lineage", "acme", "--claim", "first"), {("t.first", "acme")}),
    ):
        assert shown(*args) == {key: whole[key] for key in keys}


def test_replies_are_left_out_where_that_is_asked(store: History) -> None:
    for args, inside in (((), True), (("--no-replies",), False)):
        written = alignbench("-o", "-", *args).output
        assert ("cannot help with this" in written) is inside


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--lineage", "nosuch"), "no lineage 'nosuch'; there are: acme, birch"),
        (("--claim", "nosuch"), "no claim whose id contains 'nosuch' has been measured on any model"),
        (("--format", "pdf"), "'pdf' is not one of"),
        (("-o", "no/such/folder.html"), "folder.html cannot be written"),
        (("--history", "elsewhere"), "holds no run yet"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(store: History, args: tuple[str, ...], said: str) -> None:
    done = alignbench(*args)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


def test_nothing_that_draws_is_loaded_before_a_report_is_asked_for() -> None:
    code = "import sys, pytest_alignbench.cli; sys.exit(bool({'altair', 'vl_convert', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
