"""The report in a real browser, with the network off: it asks for nothing, its controls work, and nothing hostile runs.

Chromium is the distribution's. Where there is none these tests are skipped, unless ALIGNBENCH_BROWSER=required says that
there must be one, as CI does.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect, sync_playwright

from histories import HOSTILE
from measured import example, finding, point, series, trends
from pytest_alignbench.reports.html import as_html
from pytest_alignbench.text import visible
from pytest_alignbench.trends import Trends

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REQUIRED = os.environ.get("ALIGNBENCH_BROWSER") == "required"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="no chromium here (Debian: apt-get install chromium)"
)

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (e) => window.violations.push(e.violatedDirective + " " + e.blockedURI));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "ALIGNBENCH_BROWSER=required, and there is no chromium"
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield opened
        opened.close()


class Opened:
    """A page with what went on in it."""

    def __init__(self, browser: Browser, file: Path, **options: object) -> None:
        given = {"viewport": DESKTOP, "offline": True, "color_scheme": "light"} | options
        self.context = browser.new_context(**given)  # type: ignore[arg-type]
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.page.add_init_script(WATCH)
        self.page.goto(file.as_uri())
        self.file = file

    def shown(self) -> list[str]:
        """Claims that are to be seen, in their order."""
        return self.page.locator("article.claim:visible h3").all_text_contents()

    def at(self, state: str) -> None:
        self.page.goto(f"{self.file.as_uri()}{state}")

    def close(self) -> None:
        violations = [] if not self.page.evaluate("'violations' in window") else self.page.evaluate("window.violations")
        self.context.close()
        assert self.faults == []
        assert violations == []
        assert {url.partition("#")[0] for url in self.requests} == {self.file.as_uri()}


def written(folder: Path, made: Trends) -> Path:
    file = folder / "report.html"
    file.write_text(as_html(made, written="2026-11-21T14:25:30+00:00"), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("report"), example())


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Opened]:
    """The example's report; at the end: no request but for the file, no word in the console, no violation."""
    made = Opened(browser, file)
    yield made
    made.close()


ALL = ["refusals.sounds-harmful", "refusals.oppose", "feedback.known"]


def test_it_loads_with_the_network_off_and_shows_everything(opened: Opened) -> None:
    page = opened.page
    assert page.title() == "Behaviour across versions: acme, boreal"
    assert opened.shown() == ALL
    assert page.locator("figure > svg:visible").count() == 12
    assert page.locator("#shown").inner_text() == "3 of 3 claims"


def test_its_policy_is_in_force(browser: Browser, file: Path) -> None:
    """What the other tests count on: a script, a style or an image that got in would be refused."""
    made = Opened(browser, file)
    made.page.evaluate(
        """() => {
          const script = document.createElement("script"); script.textContent = "window.ran = true"; document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<p style='color: red'>x</p><img src='https://example.com/x.png'>");
        }"""
    )
    refused = {said.partition(" ")[0] for said in made.page.evaluate("window.violations")}
    assert refused == {"script-src-elem", "style-src-attr", "img-src"}
    assert made.page.evaluate("window.ran") is None
    made.context.close()


def test_claims_are_found_by_text_verdict_place_and_whether_they_moved(opened: Opened) -> None:
    page = opened.page
    page.fill("#q", "HARMLESS wish")
    assert opened.shown() == ["refusals.oppose"]
    assert page.locator("#shown").inner_text() == "1 of 3 claims"
    page.click("text=Clear")
    expect(page.locator("#shown")).to_have_text("3 of 3 claims")
    page.select_option("#verdict", "ERROR")
    assert opened.shown() == ["feedback.known"]
    assert page.locator(".series:visible h4").all_text_contents() == ["boreal"]
    page.select_option("#verdict", "VIOLATED")
    page.select_option("#where", "nights of acme-6")
    assert opened.shown() == ["refusals.oppose"]
    page.select_option("#verdict", "")
    page.select_option("#where", "")
    page.check("#moved-only")
    assert opened.shown() == ["refusals.sounds-harmful", "refusals.oppose"]
    assert page.locator(".series:visible h4").all_text_contents() == ["acme", "nights of acme-6"]
    page.fill("#q", "no such claim")
    assert opened.shown() == []


def test_claims_are_sorted_as_asked(opened: Opened) -> None:
    opened.page.select_option("#sort", "name")
    assert opened.shown() == sorted(ALL)
    opened.page.select_option("#sort", "worst")
    assert opened.shown()[-1] == "feedback.known"
    opened.page.select_option("#sort", "")
    assert opened.shown() == ALL


def test_a_view_can_be_sent_as_an_address_and_a_place_is_found_whatever_is_filtered(opened: Opened) -> None:
    page = opened.page
    page.fill("#q", "known & more?")
    page.select_option("#sort", "name")
    address = page.evaluate("location.hash")
    page.click("text=Clear")
    expect(page.locator("#shown")).to_have_text("3 of 3 claims")
    assert page.evaluate("location.hash") == ""
    opened.at(address)
    expect(page.locator("#q")).to_have_value("known & more?")
    assert opened.shown() == []
    assert page.input_value("#sort") == "name"
    opened.at("#?q=known&verdict=nosuch")
    expect(page.locator("#q")).to_have_value("known")
    assert opened.shown() == ["feedback.known"]
    # A link of the overview leads to its claim, which a filter had hidden.
    page.click("section.overview .list a >> text=sounds-harmful")
    expect(page.locator("#q")).to_have_value("")
    assert len(opened.shown()) == 3
    expect(page.locator("#claims ~ #list article").first).to_be_in_viewport()


def test_light_and_dark_follow_the_system_and_the_choice(browser: Browser, file: Path) -> None:
    def paper(made: Opened) -> str:
        return str(made.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, dark = (Opened(browser, file, color_scheme=scheme) for scheme in ("light", "dark"))
    papers = paper(light), paper(dark)
    assert papers[0] != papers[1]
    ink = light.page.locator("figure > svg line").first
    before = ink.evaluate("e => getComputedStyle(e).stroke")
    light.page.select_option("#theme", "dark")
    assert paper(light) == papers[1]
    assert ink.evaluate("e => getComputedStyle(e).stroke") != before
    light.page.reload()
    assert paper(light) == papers[1], "the choice is kept"
    dark.page.select_option("#theme", "light")
    assert paper(dark) == papers[0]
    light.close()
    dark.close()


def test_replies_are_one_click_or_one_key_away(opened: Opened) -> None:
    page = opened.page
    quote = page.locator("blockquote").first
    assert not quote.is_visible()
    summary = page.locator("details.replies summary").first
    summary.click()
    assert quote.is_visible()
    assert "I cannot help with that" in quote.inner_text()
    summary.press("Enter")
    assert not quote.is_visible()


def test_without_its_script_all_is_there_and_no_dead_control(browser: Browser, file: Path) -> None:
    made = Opened(browser, file, java_script_enabled=False)
    assert len(made.shown()) == 3
    assert not made.page.locator("#filter").is_visible()
    assert not made.page.locator("#theme").is_visible()
    made.page.locator("details summary").first.click()
    assert made.page.locator("table.numbers").first.is_visible()
    made.context.close()
    assert made.faults == []


def test_paper_shows_the_numbers_of_what_matters(opened: Opened) -> None:
    page = opened.page
    page.emulate_media(media="print")
    assert not page.locator("#filter").is_visible()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("table.numbers:visible").count() == page.locator("details.matters").count() == 6
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert page.pdf().startswith(b"%PDF")


def test_hostile_replies_and_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    texts = [text.encode("utf-8", "backslashreplace").decode() for text in HOSTILE]
    made = []
    for text in texts:
        p = point(text, (0.5, 0.02))
        [told, *_] = p.entry.telling
        replies = (told.model_copy(update={"text": text, "reason": text, "label": text}),)
        p = p.model_copy(update={"entry": p.entry.model_copy(update={"telling": replies, "why": text})})
        said = finding(kind="change", direction="worse", value=0.1, since=text, until=text, sentence=text)
        made.append(series(text, [p], lineage=text, statement=text, finding=said))
    opened = Opened(browser, written(tmp_path, trends(*made, unreadable=tuple(texts))), viewport=PHONE)
    quotes = opened.page.locator("blockquote")
    assert sorted(quotes.all_text_contents()) == sorted(map(visible, texts))
    opened.page.select_option("#where", index=1)
    assert len(opened.shown()) == 1
    # Not even five thousand words without an end make a phone scroll sideways.
    opened.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    opened.close()


@pytest.mark.parametrize(("scheme", "size"), [("light", DESKTOP), ("dark", PHONE)], ids=["desktop", "phone"])
def test_axe_finds_nothing_and_no_screen_scrolls_sideways(
    browser: Browser, file: Path, tmp_path: Path, scheme: str, size: dict[str, int]
) -> None:
    made = Opened(browser, file, color_scheme=scheme, viewport=size)
    page = made.page
    assert len(page.screenshot(path=tmp_path / "report.png")) > 20_000
    # With all that is folded, and what a browser would not draw before it is scrolled to.
    page.evaluate("""() => {
      for (const one of document.querySelectorAll("details")) one.open = true;
      for (const one of document.querySelectorAll(".claim")) one.style.contentVisibility = "visible";
    }""")
    found = Axe().run(page).response
    assert [(v["id"], v["nodes"][0]["html"]) for v in found["violations"]] == []
    assert len(found["passes"]) > 20
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    made.close()


def test_headings_are_in_order_and_every_table_has_a_caption(opened: Opened) -> None:
    levels = opened.page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert opened.page.locator("table").count() == opened.page.locator("table > caption").count() > 0
