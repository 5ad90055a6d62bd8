"""The journal of a session: what was kept is there after a kill at any moment, a full disk or damage, and nothing else is."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import observation
from kills import killed, together
from pytest_alignbench.journal import Journal, Kept, Unfinished

FULL = Path("/dev/full")


def kept(folder: Path, identity: str = "it") -> dict[str, str]:
    """Sample -> reply."""
    replies = Kept.read([folder]).replies.get(identity, {})
    return {sample: seen.reply for (sample, _), seen in replies.items()}


def keep(journal: Journal, sample: str, *, identity: str = "it") -> None:
    journal.keep(identity, sample, observation(0, True, reply=said_to(sample)))


def said_to(sample: str) -> str:
    return f"{sample}: " + "and so on \ud83d\u2028\n" * 200


# -- kills


def _keep_without_end(folder: str, acknowledge: Callable[[str], None]) -> None:
    journal = Journal(Path(folder), str(os.getpid()))
    for number in count():
        keep(journal, f"{os.getpid()}-{number}")
        acknowledge(f"{os.getpid()}-{number}")


def test_processes_killed_at_any_moment_lose_nothing_that_they_kept(tmp_path: Path) -> None:
    chance = random.Random(7)
    kills = 60
    told = [
        sample
        for _ in range(kills)
        for sample in killed(_keep_without_end, str(tmp_path), after=chance.uniform(0, 0.005))
    ]
    found = kept(tmp_path)
    assert set(told) <= set(found)
    assert len(found) <= len(told) + kills, "at most one that was kept and not yet said"
    assert all(reply == said_to(sample) for sample, reply in found.items())
    print(f"{kills} kills: {len(told):,} replies acknowledged, {len(found):,} read")


def _keep_25(folder: str, writer: int) -> None:
    journal = Journal(Path(folder), f"child-{writer}")
    for number in range(25):
        keep(journal, f"{writer}-{number}")


def test_eight_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    together(_keep_25, str(tmp_path), writers=8)
    assert kept(tmp_path).keys() == {f"{writer}-{number}" for writer in range(8) for number in range(25)}


# -- damage


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damage_takes_the_lines_that_it_touches_and_makes_none(data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal(folder, "p")
        for sample in "abc":
            keep(journal, sample)
        file = folder / "p.jsonl"
        whole = file.read_bytes()
        start = data.draw(st.integers(0, len(whole) - 1))
        stop = data.draw(st.integers(start, min(len(whole), start + 2_000)))
        torn = data.draw(st.binary(max_size=20) | st.just(b"\n00000000 \n"))
        file.write_bytes(whole[:start] + torn + whole[stop:])
        found = kept(folder)
    lines = {
        sample: (whole.index(line), len(line)) for sample, line in zip("abc", whole.split(b"\n")[1::2], strict=True)
    }
    untouched = {sample for sample, (at, length) in lines.items() if stop < at or at + length < start}
    assert untouched <= found.keys()
    assert all(reply == said_to(sample) for sample, reply in found.items())


# -- full disks


@pytest.mark.skipif(not FULL.exists(), reason="there is no file here that is always full")
def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").symlink_to(FULL)
    with pytest.raises(OSError, match="No space left on device"):
        keep(Journal(tmp_path, "p"), "a")


def test_a_line_that_a_full_disk_cuts_short_is_an_error_and_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, "p")
    write = os.write
    keep(journal, "a")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda file, line: write(file, line[: len(line) // 2]))
        with pytest.raises(OSError, match="No space left on device"):
            keep(journal, "b")
    keep(journal, "c")
    assert kept(tmp_path).keys() == {"a", "c"}


def test_on_a_full_disk_what_is_stored_goes_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def full(path: Path, *args: str, **options: str) -> int:
        if path.suffix == ".part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, *args, **options)

    unfinished = Unfinished(tmp_path)
    folder = unfinished.begin("run", command="pytest")
    journal = Journal(folder, "p")
    keep(journal, "a", identity="stored")
    keep(journal, "b", identity="not stored")
    monkeypatch.setattr(Path, "write_text", full)
    unfinished.drop(folder, {"stored"})
    unfinished.release()
    assert kept(folder, "stored") == {}
    assert kept(folder, "not stored").keys() == {"b"}
    assert not list(folder.glob("*.part"))
