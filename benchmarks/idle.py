"""What does the plugin cost a project without claims? `python benchmarks/idle.py [pairs]`

A trivial pytest session with the plugin installed, against the same session with `-p no:alignbench`, in turn, so that a
drifting machine drifts for both. The promise: at most 20 ms more. The lower bound printed beside is the interpreter and
pytest alone. Also checks what a session without claims must not do: write a file or print a word of ours.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMISE_MS = 20.0
BASE = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
WITHOUT = [*BASE, "-p", "no:alignbench"]


def session(command: list[str], folder: Path) -> tuple[float, str]:
    """Milliseconds of one session, and what it printed."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return (time.perf_counter() - started) * 1000, done.stdout + done.stderr


def main(pairs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_trivial.py").write_text("def test_trivial() -> None:\n    assert True\n")
        for command in (BASE, WITHOUT):
            session(command, folder)  # compiles what is not compiled yet
        before = sorted(p.name for p in folder.rglob("*") if "__pycache__" not in p.parts)
        runs = [(session(BASE, folder), session(WITHOUT, folder)) for _ in range(pairs)]
        after = sorted(p.name for p in folder.rglob("*") if "__pycache__" not in p.parts)
    with_us = [first[0] for first, _ in runs]
    without = [second[0] for _, second in runs]
    more = statistics.median(a - b for a, b in zip(with_us, without, strict=True))
    ratio = statistics.median(a / b for a, b in zip(with_us, without, strict=True))
    print(f"{pairs} pairs of sessions, medians")
    print(f"  without the plugin (lower bound)  {statistics.median(without):7.1f} ms")
    print(f"  with it, no claim collected       {statistics.median(with_us):7.1f} ms")
    print(
        f"  more, pair by pair                {more:+7.1f} ms   (promise: at most {PROMISE_MS:.0f})   ratio {ratio:.3f}"
    )
    print(f"  files written: {sorted(set(after) - set(before)) or 'none'}")
    print(f"  mentioned in the output: {any('alignbench:' in first[1] for first, _ in runs)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
