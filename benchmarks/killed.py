"""What does it cost to be killed? `python -m benchmarks.killed [--kills 5] [--ways ours ours-2] [--seed 0]`

A session on the provider of `benchmarks/throughput` is killed at random, SIGKILL to all of its processes at once, and started
again by the same command, until it may finish. The promise: the calls that were planned and at most kills x connections more,
and the observations of a session that nobody disturbed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.throughput.rounds import Provider
from benchmarks.throughput.server import Terms
from benchmarks.throughput.ways import WAYS, Load, Way, environment, programs_of
from pytest_alignbench.history import History, Run

PATIENCE = 600.0
"""Seconds for one session."""


@dataclass(frozen=True)
class Survived:
    """What a session took that was killed `at` so many kept replies."""

    at: tuple[int, ...]
    calls: int
    run: Run


def session(way: Way, load: Load, terms: Terms, *, kills: int, chance: random.Random) -> Survived:
    """Raises SystemExit where the last session fails: then there is nothing to count."""
    programs = programs_of(way, None)
    assert programs is not None  # ours run anywhere
    provider = Provider(terms)
    at = []
    with tempfile.TemporaryDirectory(prefix="killed-") as name:
        folder = Path(name)
        way.set_up(load, folder)
        with provider.serving() as url:
            env = environment(load, url, programs, folder)
            for _ in range(kills):
                until = _kept(folder) + chance.randint(1, max(1, load.calls // (kills + 1)))
                with _started(way, load, programs, folder, env) as process:
                    end = time.monotonic() + PATIENCE
                    while _kept(folder) < until and process.poll() is None and time.monotonic() < end:
                        time.sleep(0.02)
                    time.sleep(chance.uniform(0, 0.1))
                    if process.poll() is not None:
                        raise SystemExit(f"{way.says} ended before it was killed")
                at.append(_kept(folder))
            with _started(way, load, programs, folder, env) as process:
                code = process.wait(PATIENCE)
        if code != 0:
            raise SystemExit(f"{way.says}: exit code {code}")
        run = History(str(folder / ".alignbench")).read("latest")
    return Survived(tuple(at), provider.figures.calls, run)


@contextmanager
def _started(
    way: Way, load: Load, programs: Path, folder: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """The session, which does not outlive the context."""
    process = subprocess.Popen(
        way.command(load, programs), cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=sys.stderr, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _kept(folder: Path) -> int:
    """Replies in the journals: each has a line, and an end of line before it."""
    return sum(file.read_bytes().count(b"\n") // 2 for file in folder.glob(".alignbench/unfinished/*/*.jsonl"))


def seen(run: Run) -> list[tuple[object, ...]]:
    """What was observed, without what is drawn anew for each session."""
    return [
        (r.key, o.condition, o.prompt, o.epoch, o.exhibits, o.exclusion, o.reply)
        for r in run.records
        for o in r.observations
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.killed", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--claims", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--ways", nargs="+", choices=[n for n, w in WAYS.items() if w.ours], default=["ours", "ours-2"])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    load = Load(claims=asked.claims, prompts=asked.prompts, connections=asked.connections)
    terms = Terms(latency=asked.latency, sigma=0.5, slots=asked.connections)
    kept = True
    print("| session | planned | connections | kills, at so many kept replies | calls made | at most | observations |")
    print("|---|---:|---:|---|---:|---:|---|")
    undisturbed = session(WAYS["ours"], load, terms, kills=0, chance=random.Random())
    for name in asked.ways:
        found = session(WAYS[name], load, terms, kills=asked.kills, chance=random.Random(asked.seed))
        most = load.calls + asked.kills * asked.connections
        same = found.run.complete and seen(found.run) == seen(undisturbed.run)
        kept = kept and same and found.calls <= most
        at = ", ".join(map(str, found.at))
        print(
            f"| {WAYS[name].says} | {load.calls:,} | {asked.connections} | {asked.kills}: {at} | {found.calls:,} | {most:,} "
            f"| {'those of a session left alone' if same else '**others**'} |"
        )
    print()
    print("Kept." if kept else "**Not kept.**")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
