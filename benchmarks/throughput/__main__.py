"""`python -m benchmarks.throughput`: see the package."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.documents import put
from benchmarks.throughput.rounds import rounds
from benchmarks.throughput.server import Terms
from benchmarks.throughput.tables import TARGETS, Scenario, markdown
from benchmarks.throughput.ways import WAYS, Load, install

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description="Every way to ask the same prompts, on the same provider: seconds, CPU, memory.",
    )
    load = parser.add_argument_group("what is asked")
    load.add_argument("--claims", type=int, default=60)
    load.add_argument("--prompts", type=int, default=50, help="for each claim (default: 50)")
    load.add_argument("--connections", type=int, default=50, help="calls at once (default: 50)")
    provider = parser.add_argument_group("the provider")
    provider.add_argument("--latency", type=float, default=0.5, help="mean seconds of a call (default: 0.5)")
    provider.add_argument("--sigma", type=float, default=0.0, help="of a lognormal latency (default: 0, a fixed one)")
    provider.add_argument("--slots", type=int, help="calls served at once, later ones wait (default: the connections)")
    provider.add_argument("--rate-limited", type=float, default=0.0, metavar="SHARE", help="answered 429 at once")
    provider.add_argument("--errors", type=float, default=0.0, metavar="SHARE", help="answered 500")
    provider.add_argument("--resets", type=float, default=0.0, metavar="SHARE", help="connections reset")
    parser.add_argument("--ways", nargs="+", choices=WAYS, metavar="WAY", help=f"of {', '.join(WAYS)} (default: all)")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where each way's packages are, by themselves")
    parser.add_argument("--install", action="store_true", help="install there what the ways need, ours too")
    parser.add_argument("--repeats", type=int, default=3, help="medians of so many rounds (default: 3)")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one way in one round (default: 300)")
    parser.add_argument(
        "--targets",
        nargs="*",
        type=int,
        metavar="N",
        help="the five scenarios that we promise something of, or the Nth",
    )
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--quick", action="store_true", help="40 calls, one round, ours and a bare client")
    return parser


def scenarios(asked: argparse.Namespace) -> Sequence[Scenario]:
    if asked.quick:
        load, ways = Load(claims=2, prompts=20, connections=10), asked.ways or ("ours", "aiohttp")
        return [Scenario(title="Does it run?", load=load, terms=Terms(latency=0.05, slots=10), ways=tuple(ways))]
    if asked.targets is not None:
        chosen = set(asked.ways or WAYS)
        return [
            replace(target, ways=tuple(name for name in target.ways if name in chosen))
            for number, target in enumerate(TARGETS, start=1)
            if number in (asked.targets or range(1, len(TARGETS) + 1))
        ]
    load = Load(claims=asked.claims, prompts=asked.prompts, connections=asked.connections)
    terms = Terms(
        latency=asked.latency,
        sigma=asked.sigma,
        slots=asked.slots or asked.connections,
        rate_limited=asked.rate_limited,
        errors=asked.errors,
        resets=asked.resets,
    )
    return [Scenario(title="Throughput", load=load, terms=terms, ways=tuple(asked.ways or WAYS))]


def main(args: Sequence[str] | None = None) -> int:
    """1 if a way of ours failed."""
    asked = options().parse_args(args)
    todo = scenarios(asked)
    if asked.install:
        if asked.peers is None:
            options().error("--install needs --peers FOLDER")
        for peer in dict.fromkeys(WAYS[name].peer for given in todo for name in given.ways):
            if not peer.installed(asked.peers):
                install(peer, asked.peers.absolute())
    started = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {what}", file=sys.stderr, flush=True)

    repeats = 1 if asked.quick else asked.repeats
    lines = [
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}; medians of {repeats} "
        f"round{'s' if repeats > 1 else ''}, the ways in turn."
    ]
    failed = False
    for given in todo:
        tell(given.title)
        results = rounds(
            [WAYS[name] for name in given.ways],
            given.load,
            given.terms,
            repeats=repeats,
            peers=asked.peers.absolute() if asked.peers is not None else None,
            limit=asked.limit,
            tell=tell,
        )
        failed = failed or any(result.way.ours and result.trouble for result in results)
        lines += ["", *markdown(given, results)]
    block = "\n".join(lines)
    print(block)
    if asked.write:
        put(DOCUMENT, "throughput", block)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
