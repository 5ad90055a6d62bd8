"""What is printed: a Markdown table per scenario, and whether the promises are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.throughput.rounds import Result
from benchmarks.throughput.server import Terms
from benchmarks.throughput.ways import OURS, WAYS, Load

_ALONE = tuple(name for name, way in WAYS.items() if way.peer is OURS)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A load on a provider, by these ways. `ratio` and `seconds` are what we promise of the best of our own, if so."""

    title: str
    load: Load
    terms: Terms
    ways: tuple[str, ...] = _ALONE
    ratio: float | None = None
    seconds: float | None = None
    ahead: tuple[str, ...] = ()
    """Ways that ours must be ahead of."""


def scenario(
    title: str, *, latency: float, sigma: float = 0.0, claims: int = 60, connections: int = 50, **rest: object
) -> Scenario:
    load = Load(claims=claims, prompts=50, connections=connections)
    terms = Terms(latency=latency, sigma=sigma, slots=connections)
    return Scenario(title=title, load=load, terms=terms, **rest)  # type: ignore[arg-type]


TARGETS = (
    scenario("0.5 s, fixed", latency=0.5, ratio=1.10, ways=("ours", "ours-2", "aiohttp", "inspect")),
    scenario(
        "0.5 s, lognormal with sigma 0.8",
        latency=0.5,
        sigma=0.8,
        ratio=1.15,
        ways=("ours", "ours-2", "aiohttp", "inspect"),
    ),
    scenario("2 s, fixed", latency=2.0, ratio=1.04, ways=("ours", "aiohttp")),
    scenario("50 ms, fixed", latency=0.05, ratio=4.0),
    scenario(
        "1,000 calls at 100 ms, with peers",
        latency=0.1,
        claims=20,
        seconds=5.0,
        ways=tuple(WAYS),
        ahead=("promptfoo", "pytest-evals", "deepeval-pytest"),
    ),
)
"""What docs/performance.md promises, on two cores."""


def markdown(given: Scenario, results: Sequence[Result]) -> Iterator[str]:
    load, terms = given.load, given.terms
    measured = [result for result in results if result.rounds]
    yield f"### {given.title}"
    yield ""
    faults = "".join(
        f", {share:.0%} {what}"
        for share, what in (
            (terms.rate_limited, "answered 429"),
            (terms.errors, "answered 500"),
            (terms.resets, "reset"),
        )
        if share
    )
    tail = f", lognormal with sigma {terms.sigma:g}" if terms.sigma else ""
    mean = f", {measured[0].rounds[0].figures.mean_latency:.3f} s dealt" if measured else ""
    yield (
        f"{load.claims} claims x {load.prompts} prompts = {load.calls:,} calls over {load.connections} connections; mean "
        f"latency {terms.latency:g} s{tail}{mean}{faults}."
    )
    yield ""
    yield (
        "| way | wall s | lower bound s | ratio | first call s | first verdict s | end after last reply s | CPU s | "
        "memory MB | in flight | calls | server CPU s | others |"
    )
    yield "|---|" + "---:|" * 12
    for result in results:
        if not result.rounds:
            yield f"| {result.way.says} | {result.trouble}" + " |" * 12
            continue
        median = result.median
        verdict = "–"
        if result.way.ours:
            verdict = f"{median(lambda r: r.cost.line if r.cost.line is not None else r.cost.wall):.2f}"
        cells = (
            f"{median(lambda r: r.cost.wall):.2f}",
            f"{median(lambda r: r.bound):.2f}",
            f"**{median(lambda r: r.ratio):.2f}**",
            f"{median(lambda r: r.before):.2f}",
            verdict,
            f"{median(lambda r: r.after):.2f}",
            f"{median(lambda r: r.cost.cpu):.1f}",
            f"{median(lambda r: r.cost.memory) / 1e6:.0f}",
            f"{median(lambda r: r.figures.peak):.0f}",
            f"{median(lambda r: r.figures.calls):,.0f}",
            f"{median(lambda r: r.figures.cpu):.2f}",
            f"{median(lambda r: r.disturbed):.0%}",
        )
        trouble = f" ({len(result.rounds)} rounds, then {result.trouble})" if result.trouble else ""
        yield f"| {result.way.says}{trouble} | {' | '.join(cells)} |"
    for line in promises(given, results):
        yield ""
        yield line


def promises(given: Scenario, results: Sequence[Result]) -> Iterator[str]:
    """One line for each promise of the scenario that could be measured."""
    ours = [result for result in results if result.way.ours and result.rounds]
    if not ours:
        return
    best = min(ours, key=lambda result: result.median(lambda r: r.cost.wall))
    wall, ratio = best.median(lambda r: r.cost.wall), best.median(lambda r: r.ratio)
    if given.ratio is not None:
        kept = "kept" if ratio <= given.ratio else "**not kept**"
        yield f"Promise: at most {given.ratio:.2f} times the lower bound. {best.way.says}: {ratio:.2f}, {kept}."
    if given.seconds is not None:
        kept = "kept" if wall <= given.seconds else "**not kept**"
        yield f"Promise: at most {given.seconds:g} s as a whole process. {best.way.says}: {wall:.2f} s, {kept}."
    for result in results:
        if result.way.name in given.ahead and result.rounds:
            theirs = result.median(lambda r: r.cost.wall)
            kept = "kept" if wall < theirs else "**not kept**"
            yield f"Promise: ahead of {result.way.says}. {wall:.2f} s against {theirs:.2f} s, {kept}."
