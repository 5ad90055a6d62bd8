"""`python -m benchmarks.calibration [--quick] [--write] [--only verdicts|trends]`: see the package."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.calibration import trends
from benchmarks.calibration.sessions import Checked, checked
from benchmarks.calibration.tables import SECTIONS, Figure, Section, shown
from benchmarks.documents import put
from pytest_alignbench.gates import Outcome

DOCUMENT = Path(__file__).parents[2] / "docs" / "statistics.md"
QUICK = 0.02
"""Share of the repeats under --quick."""


def markdown(sessions: Sequence[Checked], sections: Sequence[Section]) -> Iterator[str]:
    yield "### The long way and the short way"
    yield ""
    yield (
        "Whole pytest sessions with simulated models, and each of their records made again without pytest and Inspect: "
        "equal in every reply, bound and verdict, so that the short way may stand for the long one below."
    )
    yield ""
    yield "| session | records | replies | HOLDS / VIOLATED / INCONCLUSIVE | made again alike |"
    yield "|---|---|---|---|---|"
    for made in sessions:
        counts = made.outcomes
        said = " / ".join(str(counts[o]) for o in (Outcome.HOLDS, Outcome.VIOLATED, Outcome.INCONCLUSIVE))
        records = len(made.run.records)
        alike = f"{records - len(made.differing)} of {records}"
        yield f"| {made.what} | {records} | {made.replies:,} | {said} | {alike} |"
    yield ""
    yield from tables(sections)


def tables(sections: Sequence[Section]) -> Iterator[str]:
    for number, section in enumerate(sections):
        yield from ([""] if number else [])
        yield from (f"### {section.title}", "", section.says, "")
        yield from _wide(section) if len(section.columns) > 1 else _long(section)


def _long(section: Section) -> Iterator[str]:
    yield "| | nominal | measured | 95 % interval | repeats |"
    yield "|---|---|---|---|---|"
    for what, (figure,) in section.rows.items():
        low, high = map(shown, figure.interval)
        yield f"| {what} | {figure.nominal} | {_measured(figure)} | {low} – {high} | {figure.repeats:,} |"


def _wide(section: Section) -> Iterator[str]:
    """A figure with all that belongs to it in one cell; the number of repeats once, if it is the same everywhere."""
    repeats = {figure.repeats for row in section.rows.values() for figure in row}
    said = "; repeats" if len(repeats) > 1 else f", of {next(iter(repeats)):,} repeats each"
    yield f"In each cell: measured [95 % interval]; nominal{said}."
    yield ""
    yield f"| | {' | '.join(section.columns)} |"
    yield "|---" * (len(section.columns) + 1) + "|"
    for what, row in section.rows.items():
        cells = []
        for figure in row:
            low, high = map(shown, figure.interval)
            count = f"; {figure.repeats:,}" if len(repeats) > 1 else ""
            cells.append(f"{_measured(figure)} [{low}, {high}]; {figure.nominal}{count}")
        yield f"| {what} | {' | '.join(cells)} |"


def _measured(figure: Figure) -> str:
    return shown(figure.measured) + (" (!)" if figure.off else "")


def main() -> int:
    """1 if a record of the long way could not be made again alike; figures off their nominal are marked (!)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats, in less than a minute")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/statistics.md")
    parser.add_argument("--only", choices=["verdicts", "trends"], help="one of the two parts")
    asked = parser.parse_args()
    started = time.perf_counter()

    def tell(what: str) -> None:
        print(f"{time.perf_counter() - started:6.1f} s  {what}", file=sys.stderr)

    def made_of(sections: Sequence[Callable[[float], Section]]) -> Iterator[Section]:
        for make in sections:
            section = make(QUICK if asked.quick else 1.0)
            tell(section.title)
            yield section

    wrong: list[str] = []
    if asked.only != "trends":
        with tempfile.TemporaryDirectory() as folder:
            sessions = []
            for made in checked(Path(folder), quick=asked.quick):
                sessions.append(made)
                tell(f"session: {made.what}")
        block = "\n".join(markdown(sessions, list(made_of(SECTIONS))))
        print(block)
        if asked.write:
            put(DOCUMENT, "calibration", block)
        wrong = [line for made in sessions for line in made.differing]
        for line in wrong:
            print(f"not alike: {line}", file=sys.stderr)
    if asked.only != "verdicts":
        block = "\n".join(tables(list(made_of(trends.SECTIONS))))
        print(block)
        if asked.write:
            put(DOCUMENT, "trends", block)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
