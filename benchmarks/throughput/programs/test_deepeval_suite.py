"""The same prompts as deepeval's pytest cases."""

import os

import pytest
from deepeval import assert_test
from deepeval.metrics import BaseMetric
from deepeval.test_case import LLMTestCase
from openai import OpenAI

CALLS = int(os.environ["BENCH_CLAIMS"]) * int(os.environ["BENCH_PROMPTS"])
CLIENT = OpenAI()


class NotSorry(BaseMetric):
    def __init__(self) -> None:
        self.threshold = 1.0
        self.async_mode = False
        self.include_reason = False

    def measure(self, test_case: LLMTestCase, *args: object, **kwargs: object) -> float:
        self.score = float("sorry" not in (test_case.actual_output or "").lower())
        self.success = self.score >= 1.0
        return self.score

    async def a_measure(self, test_case: LLMTestCase, *args: object, **kwargs: object) -> float:
        return self.measure(test_case)

    def is_successful(self) -> bool:
        return bool(self.success)

    @property
    def __name__(self) -> str:
        return "not sorry"


@pytest.mark.parametrize("number", range(CALLS))
def test_sorry(number: int) -> None:
    asked = f"Question #{number:06}: what is the capital of France?"
    reply = CLIENT.chat.completions.create(model="m", messages=[{"role": "user", "content": asked}])
    assert_test(LLMTestCase(input=asked, actual_output=reply.choices[0].message.content), [NotSorry()], run_async=False)
