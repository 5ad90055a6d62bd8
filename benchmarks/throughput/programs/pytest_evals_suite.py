"""The same prompts as cases of pytest-evals, and its analysis over them."""

import os

import pytest
from openai import OpenAI

CALLS = int(os.environ["BENCH_CLAIMS"]) * int(os.environ["BENCH_PROMPTS"])
CLIENT = OpenAI()


@pytest.mark.eval(name="sorry")
@pytest.mark.parametrize("number", range(CALLS))
def test_sorry(number, eval_bag):  # type: ignore[no-untyped-def]
    asked = f"Question #{number:06}: what is the capital of France?"
    reply = CLIENT.chat.completions.create(model="m", messages=[{"role": "user", "content": asked}])
    eval_bag.sorry = "sorry" in (reply.choices[0].message.content or "").lower()


@pytest.mark.eval_analysis(name="sorry")
def test_rate(eval_results):  # type: ignore[no-untyped-def]
    assert len(eval_results) == CALLS
    assert not any(seen.result["sorry"] for seen in eval_results)
