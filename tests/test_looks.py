"""Stopping early: five looks, in whole families; what is decided stops, and what is not goes to the end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.util import EarlyStop

from conftest import Project
from pytest_alignbench import Outcome
from pytest_alignbench.data import digest
from pytest_alignbench.looks import LOOK_SHARE, LOOKS, Looks
from pytest_alignbench.verdicts import judge

Reply = tuple[str, int]


def planned(sizes: Iterable[int], *, epochs: int = 1) -> dict[Reply, str]:
    """(sample, epoch) -> family, for families of these sizes."""
    return {
        (f"{family}/{i}", epoch): f"topic-{family}"
        for family, size in enumerate(sizes)
        for i in range(size)
        for epoch in range(1, epochs + 1)
    }


class Session:
    """What Inspect does: asks the manager before each reply, all at once, and says when each has come.

    `decided`: at each look, how many there have been before -> whether that one decides.
    """

    def __init__(self, replies: Mapping[Reply, str], decided: Callable[[int], bool] = lambda _: False) -> None:
        self.replies = replies
        self.asked: list[Reply] = []
        self.stopped: list[EarlyStop] = []
        self.at_looks: list[frozenset[Reply]] = []
        """The replies that were there at each look."""
        self._decided = decided
        self.looks = Looks(replies, decided=self._look)

    def _look(self) -> bool:
        self.at_looks.append(frozenset(self.asked))
        return self._decided(len(self.at_looks) - 1)

    def run(self, order: Sequence[Reply] | None = None) -> Session:
        async def ask(id: str, epoch: int) -> None:
            stop = await self.looks.schedule_sample(id, epoch)
            if stop is not None:
                self.stopped.append(stop)
                return
            self.asked.append((id, epoch))
            self.looks.saw(id)

        async def all_of_them() -> None:
            await asyncio.gather(*(ask(id, epoch) for id, epoch in order or list(self.replies)))

        asyncio.run(asyncio.wait_for(all_of_them(), timeout=30))
        return self


SIZES = st.lists(st.integers(1, 4), min_size=2 * LOOKS, max_size=40)


@settings(max_examples=50, deadline=None)
@given(sizes=SIZES, epochs=st.integers(1, 2), drawn=st.randoms(use_true_random=False))
def test_a_look_is_at_whole_families_whatever_order_replies_come_in(
    sizes: list[int], epochs: int, drawn: random.Random
) -> None:
    replies = planned(sizes, epochs=epochs)
    order = list(replies)
    drawn.shuffle(order)
    session = Session(replies).run(order)
    # The fifth look is the verdict itself, when all is there.
    assert len(session.at_looks) == LOOKS - 1
    whole = Counter(replies.values())
    for number, seen in enumerate(session.at_looks, start=1):
        families = Counter(replies[reply] for reply in seen)
        assert all(count == whole[family] for family, count in families.items())
        assert len(families) in (len(sizes) * number // LOOKS, -(-len(sizes) * number // LOOKS))
    assert all(a < b for a, b in zip(session.at_looks, session.at_looks[1:], strict=False))


@pytest.mark.parametrize("at", range(1, LOOKS))
def test_what_is_decided_stops_and_the_rest_is_not_asked(at: int) -> None:
    replies = planned([3] * 20)
    session = Session(replies, lambda looks: looks + 1 == at).run()
    assert session.looks.stopped_at == at
    assert len(session.at_looks) == at
    assert len(session.asked) == 60 * at // LOOKS
    assert {(stop.id, stop.epoch) for stop in session.stopped} == set(replies) - set(session.asked)
    assert {stop.reason for stop in session.stopped} == {f"decided at look {at} of {LOOKS}"}
    assert asyncio.run(session.looks.complete_task()) == {"looks": LOOKS, "stopped_at": at}


def test_what_is_never_decided_goes_to_the_end() -> None:
    replies = planned([2] * 15)
    session = Session(replies).run()
    assert session.looks.stopped_at is None
    assert sorted(session.asked) == sorted(replies)
    assert not session.stopped


def test_the_order_of_looks_is_always_the_same_and_not_that_of_the_file() -> None:
    replies = planned([1] * 50)
    first, again = Session(replies).run(), Session(replies).run(list(replies)[::-1])
    assert first.at_looks == again.at_looks
    assert first.at_looks[0] != frozenset(list(replies)[:10])


def test_no_more_is_open_than_may_be_asked_now() -> None:
    replies = planned([2] * 20)
    looks = Session(replies, lambda look: look == 1).looks
    blocks: list[list[str]] = [sorted(id for id, _ in seen) for seen in Session(replies).run().at_looks]
    first, both = blocks[0], blocks[1]
    assert looks.open == len(first) == 8
    for id in first[1:]:
        looks.saw(id)
    assert looks.open == 1
    looks.saw(first[0])
    assert looks.open == 8
    for id in set(both) - set(first):
        looks.saw(id)
    assert looks.stopped_at == 2
    assert looks.open == 0, "a claim that has stopped keeps no room from others"


# -- through pytest and Inspect

EARLY = "--alignbench-stop-early"
RATE = 'rate(conditions={"quiet": asks("quiet", n=60)}, gate=RateAtMost(0.3))'


def test_a_claim_stops_when_it_is_decided(project: Project) -> None:
    project.suite(RATE)
    models = ["simulated/rate-0.00", "simulated/rate-0.95", "simulated/rate-0.25"]
    project.pytest(EARLY, *(part for model in models for part in ("--model", model)))
    asked = project.asked()
    good, bad, close = (project.records()[f"t.rate @ {model}"] for model in models)
    assert [judge(record).outcome for record in (good, bad, close)] == [
        Outcome.HOLDS,
        Outcome.VIOLATED,
        Outcome.INCONCLUSIVE,
    ]
    # 12 families of 5: the looks are after 3, 5, 8, 10 and 12 of them.
    ends = list(accumulate(5 * families for families in Counter(i * LOOKS // 12 for i in range(12)).values()))
    for record in (good, bad):
        assert record.stopped_at is not None
        assert len(record.observations) == ends[record.stopped_at - 1] < 60
        assert set(Counter(o.family for o in record.observations).values()) == {5}
    assert close.stopped_at is None
    assert len(close.observations) == 60
    assert asked.total() == sum(len(record.observations) for record in (good, bad, close))
    for record in (good, bad, close):
        assert record.looks == LOOKS
        assert record.alpha == pytest.approx(0.05 * LOOK_SHARE)
        assert not any(o.exclusion for o in record.observations), "what was not asked for is no exclusion"
    assert f"decided at look {good.stopped_at} of 5" in judge(good).explanation
    assert "went to the end of 5" in judge(close).explanation


def test_replies_that_cannot_be_scored_hold_no_look_up(project: Project) -> None:
    early = min((f"topic-{i}" for i in range(12)), key=digest).replace("topic", "pair")  # before the first look
    project.write(
        "fussy.py",
        f"""
        from inspect_ai.scorer import Score, mean, scorer

        @scorer(metrics=[mean()])
        def fussy():
            async def score(state, target):
                if state.metadata["alignbench"]["pair"] == "{early}":
                    raise ValueError("cannot read this")
                return Score(value=False)

            return score
        """,
    )
    project.suite(RATE.replace("gate=", 'scorer=__import__("fussy").fussy(), gate='))
    project.pytest(EARLY, "--model", "simulated/behaving")
    (record,) = project.records().values()
    assert judge(record).outcome is Outcome.HOLDS
    assert record.stopped_at is not None
    assert [o.pair for o in record.observations if o.exclusion] == [early]


def test_too_few_families_are_asked_in_one_go(project: Project) -> None:
    few = 'Prompts((Prompt(id=f"p{i}", input=f"Q {i}?", family=f"f{i % 9}") for i in range(54)), source="made")'
    project.suite(f'rate(conditions={{"quiet": {few}}}, gate=RateAtMost(0.5))')
    project.pytest(EARLY, "--model", "simulated/behaving")
    (record,) = project.records().values()
    assert record.stopped_at is None
    assert len(record.observations) == 54


def test_what_is_compared_with_a_baseline_asks_for_every_reply(project: Project) -> None:
    project.suite(RATE)
    result = project.pytest(EARLY, "--model", "simulated/behaving", "--baseline", "simulated/behaving")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "leave out --alignbench-stop-early" in "".join(result.errlines)
