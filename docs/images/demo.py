"""Draws docs/images/demo.svg from the latest run of `make demo`: `python docs/images/demo.py`"""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pytest_alignbench.history import History
from pytest_alignbench.reports.terminal import grid
from pytest_alignbench.verdicts import judge

TONES = {"HOLDS": "green", "VIOLATED": "bold red", "INCONCLUSIVE": "yellow"}


def main() -> None:
    run = History(".alignbench").read("latest")
    verdicts = [judge(record) for record in run.records]
    console = Console(record=True, width=92, file=io.StringIO())
    console.print(Text("$ make demo", style="bold"))
    console.print(
        Text("three suites, three versions of a simulated model: effect in points, or rate in %\n", style="dim")
    )
    for line, tone in grid(verdicts):
        text = Text(line, style=tone)
        for word, style in TONES.items():
            text.highlight_regex(rf"{word} \S+", style)
        console.print(text)
    console.save_svg(str(Path(__file__).with_name("demo.svg")), title="pytest-alignbench")


if __name__ == "__main__":
    main()
