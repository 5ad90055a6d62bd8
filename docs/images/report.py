"""Photographs the report of `make demo` for the README: `python docs/images/report.py` (needs chromium)

The overview without its table of every verdict, and what is found under "refusals": two lineages that were not trained to refuse, and the one that was.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from pytest_alignbench.history import History
from pytest_alignbench.index import Index
from pytest_alignbench.reports.html import as_html
from pytest_alignbench.settings import settings_of
from pytest_alignbench.trends import trends

ROOT = Path(__file__).resolve().parents[2]
HISTORY = ".alignbench/demo"
WIDTH = 1280
STATE = "#?q=refusals"
LAST = ".series:visible >> nth=2"

SHORTEN = """() => {
  for (const one of document.querySelectorAll(".theme, .how, #every, .grids, #filter, .overview .aside")) {
    one.style.display = "none";
  }
}"""


def main() -> None:
    found = trends(Index(History(str(ROOT / HISTORY))), settings_of(ROOT))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "report.html"
        page.write_text(as_html(found.model_copy(update={"history": HISTORY})), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": WIDTH, "height": 4000}, color_scheme="light")
        shown.goto(page.as_uri() + STATE)
        shown.evaluate(SHORTEN)
        box = shown.locator(LAST).bounding_box()
        assert box is not None
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + 8}
        shown.screenshot(clip=clip, path=Path(__file__).with_name("report.png"))
        browser.close()


if __name__ == "__main__":
    main()
