"""One way on one provider, and all ways in turn, so that a drifting machine drifts for all."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.throughput import server
from benchmarks.throughput.processes import Cost, cost
from benchmarks.throughput.server import Figures, Terms, lower_bound
from benchmarks.throughput.ways import Load, Way, environment, programs_of

MARK = "PASSED"
"""In pytest's verbose output: a verdict is there."""


@dataclass(frozen=True)
class Round:
    """One way, once: what it cost, and what the provider saw of it."""

    cost: Cost
    figures: Figures
    connections: int

    @property
    def bound(self) -> float:
        return lower_bound(self.figures, self.connections)

    @property
    def ratio(self) -> float:
        return self.cost.wall / self.bound

    @property
    def before(self) -> float:
        """Seconds until the first call."""
        return self.figures.first_call - self.cost.started

    @property
    def after(self) -> float:
        """Seconds from the last reply to the end of the process."""
        return self.cost.started + self.cost.wall - self.figures.last_reply

    @property
    def disturbed(self) -> float:
        """Share of the machine's cores that others used meanwhile: their work is in the wall time too."""
        others = self.cost.busy - self.cost.cpu - self.figures.cpu
        return max(0.0, others / (self.cost.wall * (os.cpu_count() or 1)))


@dataclass
class Result:
    """All rounds of a way. `trouble`: why there is no figure for it."""

    way: Way
    rounds: list[Round] = field(default_factory=list)
    trouble: str | None = None

    def median(self, of: Callable[[Round], float]) -> float:
        return statistics.median(of(made) for made in self.rounds)


class Provider:
    """A server in a process of its own while the context lasts; afterwards `figures` has what it saw."""

    def __init__(self, terms: Terms) -> None:
        self.figures = Figures()
        self._terms = terms

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Gives the base URL."""
        command = [sys.executable, "-I", server.__file__, json.dumps(asdict(self._terms))]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None  # pipes were asked for
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            said = process.stdout.read()
            process.stdout.close()
            process.wait()
        self.figures = Figures(**json.loads(said))


def once(way: Way, load: Load, terms: Terms, *, programs: Path, limit: float) -> Round | str:
    """One round, or what went wrong."""
    provider = Provider(terms)
    with tempfile.TemporaryDirectory(prefix="throughput-") as name:
        folder = Path(name)
        way.set_up(load, folder)
        with provider.serving() as url:
            spent = cost(
                way.command(load, programs),
                folder=folder,
                env=environment(load, url, programs, folder),
                limit=limit,
                mark=MARK,
            )
    figures = provider.figures
    if spent.code < 0:
        return f"stopped after {spent.wall:.0f} s, with {figures.prompts:,} of {load.calls:,} prompts answered"
    if spent.code != 0:
        print(spent.output, file=sys.stderr)
        return f"exit code {spent.code}"
    if figures.prompts != load.calls:
        print(spent.output, file=sys.stderr)
        return f"only {figures.prompts:,} of {load.calls:,} prompts answered"
    return Round(spent, figures, load.connections)


def rounds(
    ways: Sequence[Way],
    load: Load,
    terms: Terms,
    *,
    repeats: int,
    peers: Path | None,
    limit: float,
    tell: Callable[[str], None],
) -> list[Result]:
    """All ways, one after another, `repeats` times over. A way that failed once is not tried again."""
    results = [Result(way) for way in ways]
    for result in results:
        if programs_of(result.way, peers) is None:
            result.trouble = f"not installed: `--peers FOLDER --install`, or {installing(result.way, peers)}"
    for number in range(1, repeats + 1):
        for result in results:
            programs = programs_of(result.way, peers)
            if result.trouble is not None or programs is None:
                continue
            made = once(result.way, load, terms, programs=programs, limit=limit)
            if isinstance(made, str):
                result.trouble = made
                tell(f"round {number}: {result.way.says}: {made}")
            else:
                result.rounds.append(made)
                tell(
                    f"round {number}: {result.way.says}: {made.cost.wall:.2f} s, ratio {made.ratio:.2f}, CPU "
                    f"{made.cost.cpu:.1f} s, others {made.disturbed:.0%} of the machine"
                )
    return results


def installing(way: Way, peers: Path | None) -> str:
    """The commands that install a way's peer, as a user would type them."""
    return " && ".join(f"`{' '.join(command)}`" for command in way.peer.installing(peers or Path("FOLDER")))
