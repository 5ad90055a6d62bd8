"""The benchmark of speed: its provider deals what it says, its arithmetic is right, and it runs at all.

How long anything takes is for `python -m benchmarks.throughput` to say: nothing here is timed.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from benchmarks.throughput import __main__ as program
from benchmarks.throughput.processes import Cost, cost
from benchmarks.throughput.rounds import Provider, Result, Round, rounds
from benchmarks.throughput.server import Fault, Figures, Terms, lower_bound
from benchmarks.throughput.tables import Scenario, markdown, promises
from benchmarks.throughput.ways import WAYS, Load, environment
from hypothesis import given
from hypothesis import strategies as st

# -- what the provider deals


def dealt(terms: Terms, calls: int = 4000) -> list[tuple[float, Fault | None]]:
    return [terms.deal(number, 0) for number in range(calls)]


def test_a_fixed_latency_is_fixed() -> None:
    assert set(dealt(Terms(latency=0.25))) == {(0.25, None)}


def test_a_heavy_tail_keeps_the_mean() -> None:
    # The coefficient of variation of a lognormal is sqrt(exp(sigma²) - 1), Johnson, Kotz & Balakrishnan 1994, ch. 14.
    delays = [delay for delay, _ in dealt(Terms(latency=0.5, sigma=0.8))]
    spread = 0.5 * math.sqrt(math.exp(0.8**2) - 1)
    assert statistics.mean(delays) == pytest.approx(0.5, abs=4 * spread / math.sqrt(len(delays)))
    # The median tells a lognormal from any other tail: exp(mu) = mean · exp(-sigma² / 2).
    assert statistics.median(delays) == pytest.approx(0.5 * math.exp(-0.32), rel=0.06)


def test_faults_have_the_shares_that_were_asked_for() -> None:
    fates = [fault for _, fault in dealt(Terms(latency=0.1, rate_limited=0.1, errors=0.2, resets=0.05))]
    for fault, share in ((Fault.RATE_LIMITED, 0.1), (Fault.ERROR, 0.2), (Fault.RESET, 0.05)):
        assert fates.count(fault) / len(fates) == pytest.approx(share, abs=4 * math.sqrt(share / len(fates)))


@given(st.integers(0, 999_999), st.integers(0, 5))
def test_an_attempt_meets_the_same_fate_in_every_process_and_order(number: int, attempt: int) -> None:
    terms = Terms(latency=0.5, sigma=0.8, errors=0.3)
    assert terms.deal(number, attempt) == replace(terms).deal(number, attempt)


def test_a_second_attempt_is_dealt_anew() -> None:
    terms = Terms(latency=0.5, errors=0.5)
    assert [terms.deal(n, 0)[1] for n in range(50)] != [terms.deal(n, 1)[1] for n in range(50)]


@given(st.lists(st.floats(0, 10), min_size=1), st.integers(1, 100))
def test_the_lower_bound_is_perfect_packing(delays: list[float], connections: int) -> None:
    figures = Figures(calls=len(delays), dealt=sum(delays))
    assert lower_bound(figures, connections) == pytest.approx(sum(delays) / connections)


# -- the provider, asked


async def ask(url: str, numbers: list[int], *, close: bool = False) -> list[int | str]:
    """All at once: the status of each, or the name of the exception."""
    headers = {"Connection": "close"} if close else {}

    async def one(session: aiohttp.ClientSession, number: int) -> int | str:
        body = {"model": "m", "messages": [{"role": "user", "content": f"Question #{number:06}"}]}
        try:
            async with session.post(f"{url}/chat/completions", json=body, headers=headers) as reply:
                await reply.read()
                return reply.status
        except aiohttp.ClientError as fault:
            return type(fault).__name__

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        return await asyncio.gather(*(one(session, number) for number in numbers))


@pytest.mark.parametrize("close", [False, True], ids=["kept connections", "a connection for each"])
def test_the_provider_counts_what_it_was_asked(close: bool) -> None:
    provider = Provider(Terms(latency=0.05, slots=3))
    with provider.serving() as url:
        assert asyncio.run(ask(url, [1, 2, 3, 4, 5, 5], close=close)) == [200] * 6
    figures = provider.figures
    assert (figures.calls, figures.answered, figures.prompts, figures.strays) == (6, 6, 5, 0)
    assert figures.dealt == pytest.approx(0.3)
    assert figures.peak == 6  # those that wait for one of the three slots are open too
    # Six calls on three slots are two turns of the latency, however fast the machine is.
    assert figures.last_reply - figures.first_call >= 0.1
    assert figures.cpu > 0


def test_faults_arrive_as_what_they_are() -> None:
    terms = Terms(latency=0.01, rate_limited=0.25, errors=0.25, resets=0.25)
    expected = {
        Fault.RATE_LIMITED: 429,
        Fault.ERROR: 500,
        Fault.RESET: "ClientOSError",
        None: 200,
    }
    numbers = list(range(24))
    provider = Provider(terms)
    with provider.serving() as url:
        # A client may ask again by itself after a reset; one connection for each call keeps it from that.
        met = asyncio.run(ask(url, numbers, close=True))
    assert met == [expected[terms.deal(number, 0)[1]] for number in numbers]
    assert sum(provider.figures.faults.values()) == len(numbers) - provider.figures.answered


# -- what a process costs


def test_the_cost_of_a_command_counts_its_children(tmp_path: Path) -> None:
    busy = "import time; x = bytearray(80_000_000); t = time.process_time()\nwhile time.process_time() - t < 1: pass"
    (tmp_path / "busy.py").write_text(busy)
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys; print('begun', flush=True); subprocess.run([sys.executable, 'busy.py'])"
    )
    spent = cost([sys.executable, "parent.py"], folder=tmp_path, env={}, limit=60, mark="begun")
    assert spent.code == 0
    assert spent.cpu >= 1
    assert spent.wall >= 1
    assert spent.memory > 80_000_000
    assert spent.line is not None
    assert spent.line < spent.wall


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    (tmp_path / "late.sh").write_text("sleep 300 & echo $! > child; wait")
    spent = cost(["sh", "late.sh"], folder=tmp_path, env={"PATH": "/usr/bin:/bin"}, limit=0.5)
    assert spent.code < 0
    assert spent.wall < 60


# -- the tables


def measured(name: str, *, wall: float, dealt: float = 100.0, calls: int = 1000) -> Result:
    spent = Cost(started=10.0, wall=wall, cpu=1.0, memory=10**8, line=1.5, code=0, output="", busy=4.0)
    figures = Figures(calls=calls, prompts=calls, dealt=dealt, first_call=11.0, last_reply=10.0 + wall - 0.25, peak=50)
    return Result(WAYS[name], [Round(spent, figures, 50)])


def test_a_ratio_counts_everything_from_start_to_exit() -> None:
    made = measured("ours", wall=3.0).rounds[0]
    assert made.bound == pytest.approx(2.0)
    assert made.ratio == pytest.approx(1.5)
    assert made.before == pytest.approx(1.0)
    assert made.after == pytest.approx(0.25)


def test_what_others_did_meanwhile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # The machine was busy for 4 s of CPU, 1 of them ours: 3 s of others on two cores for 3 s.
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert measured("ours", wall=3.0).rounds[0].disturbed == pytest.approx(0.5)


def test_promises_are_held_against_the_best_of_ours() -> None:
    target = Scenario(
        title="t",
        load=Load(claims=20, prompts=50, connections=50),
        terms=Terms(latency=0.1),
        ratio=1.2,
        seconds=2.5,
        ahead=("promptfoo", "pytest-evals"),
    )
    slow = [measured("ours", wall=3.0), measured("ours-2", wall=2.5), measured("promptfoo", wall=2.4)]
    said = list(promises(target, slow))
    assert [("not kept" in line) for line in said] == [True, False, True]
    assert "-n 2" in said[0]
    assert list(promises(target, [measured("aiohttp", wall=2.0)])) == []


def test_the_table_says_why_a_way_has_no_figure() -> None:
    target = Scenario(title="t", load=Load(claims=1, prompts=1, connections=1), terms=Terms(latency=0.1))
    results = [measured("ours", wall=3.0), Result(WAYS["promptfoo"], trouble="not installed: `npm …`")]
    rows = [line for line in markdown(target, results) if line.startswith("| ")]
    assert rows[1].startswith("| pytest-alignbench | 3.00 | 2.00 | **1.50** |")
    assert "not installed: `npm …`" in rows[2]
    assert len({row.count("|") for row in rows}) == 1


def test_a_peer_that_is_not_there_is_named_with_what_installs_it(tmp_path: Path) -> None:
    load = Load(claims=1, prompts=1, connections=1)
    (result,) = rounds(
        [WAYS["deepeval"]], load, Terms(latency=0.0), repeats=1, peers=tmp_path, limit=1, tell=lambda what: None
    )
    assert result.trouble is not None
    assert f"{tmp_path}/deepeval/bin/python -m pip install -q deepeval==" in result.trouble
    assert not (tmp_path / "deepeval").exists()


def test_ways_that_are_not_ours_are_not_told_where_our_source_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    load = Load(claims=1, prompts=1, connections=1)
    here = Path(sys.executable).parent
    assert environment(load, "http://x/v1", here, tmp_path)["PYTHONPATH"] == "/ours"
    for peer in {way.peer for way in WAYS.values()}:
        assert "PYTHONPATH" not in environment(load, "http://x/v1", peer.programs(tmp_path), tmp_path)


# -- the whole of it


def test_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--quick", "--ways", "ours", "aiohttp", "openai"]) == 0
    said = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in said.splitlines() if line.startswith("| ")][1:]
    assert [row[0].strip() for row in rows] == ["pytest-alignbench", "bare aiohttp client", "bare openai client"]
    for row in rows:
        assert row[10].strip() == "40"  # calls, each asked once
        assert float(row[2]) == pytest.approx(0.2)
        assert float(row[1]) > float(row[2])


def test_a_way_of_ours_that_fails_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--quick", "--ways", "ours", "--limit", "0.2"]) == 1
    assert "stopped after" in capsys.readouterr().out
