"""What does a run keep in memory? `python -m benchmarks.memory [--observations 50000] [--workers N] [--peers FOLDER]`

The same claims with few and with many observations, each a session of its own on the provider of
`benchmarks/throughput`: the difference, over the difference in observations, is what one sample costs; a total alone
would be mostly imports. The promises: at most 10 KB a sample, and 50,000 observations under 600 MB.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.throughput.rounds import Round, once
from benchmarks.throughput.server import Terms
from benchmarks.throughput.ways import WAYS, Load, programs_of

PROMISE_KB = 10.0
PROMISE_MB = 600.0
FEW = 5
"""The small session has a fifth of the observations: enough that all buffers and pools are as large as they get."""
PROMPTS = 500


def session(way: str, observations: int, *, connections: int, latency: float, peers: Path | None) -> Round:
    """Raises SystemExit where the session fails: there is nothing to compare then."""
    load = Load(claims=max(1, observations // PROMPTS), prompts=PROMPTS, connections=connections)
    programs = programs_of(WAYS[way], peers)
    assert programs is not None  # ours run anywhere
    made = once(WAYS[way], load, Terms(latency=latency, slots=connections), programs=programs, limit=3600)
    if isinstance(made, str):
        raise SystemExit(f"{load.calls:,} observations: {made}")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--observations", type=int, default=50_000)
    parser.add_argument("--ways", nargs="+", choices=[n for n, w in WAYS.items() if w.ours], default=["ours"])
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--peers", type=Path, help="where each way's packages are, by themselves")
    asked = parser.parse_args()
    peers = asked.peers.absolute() if asked.peers is not None else None
    kept = True
    print("| way | observations | wall s | memory MB | KB a sample |")
    print("|---|---:|---:|---:|---:|")
    for way in asked.ways:
        few, many = (
            session(way, observations, connections=asked.connections, latency=asked.latency, peers=peers)
            for observations in (asked.observations // FEW, asked.observations)
        )
        more = (many.cost.memory - few.cost.memory) / (many.figures.prompts - few.figures.prompts) / 1000
        for made, each in ((few, "–"), (many, f"**{more:.1f}**")):
            megabytes = made.cost.memory / 1e6
            print(f"| {WAYS[way].says} | {made.figures.prompts:,} | {made.cost.wall:.1f} | {megabytes:.0f} | {each} |")
        kept = kept and more <= PROMISE_KB and many.cost.memory / 1e6 <= PROMISE_MB
    print()
    print(f"Promise: at most {PROMISE_KB:.0f} KB a sample, {asked.observations:,} under {PROMISE_MB:.0f} MB: ", end="")
    print("kept." if kept else "**not kept**.")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
