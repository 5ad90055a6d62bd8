"""The same prompts by deepeval's `evaluate`: all replies first, as many at once as there are connections, then metrics."""

import asyncio
import os

from deepeval import evaluate
from deepeval.evaluate import AsyncConfig, CacheConfig, DisplayConfig
from deepeval.metrics import BaseMetric
from deepeval.test_case import LLMTestCase
from openai import AsyncOpenAI

CALLS = int(os.environ["BENCH_CLAIMS"]) * int(os.environ["BENCH_PROMPTS"])
CONNECTIONS = int(os.environ["BENCH_CONNECTIONS"])


class NotSorry(BaseMetric):
    def __init__(self) -> None:
        self.threshold = 1.0
        self.async_mode = True
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


async def replies() -> list[LLMTestCase]:
    free = asyncio.Semaphore(CONNECTIONS)
    async with AsyncOpenAI() as client:

        async def ask(number: int) -> LLMTestCase:
            asked = f"Question #{number:06}: what is the capital of France?"
            async with free:
                reply = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": asked}])
            return LLMTestCase(input=asked, actual_output=reply.choices[0].message.content)

        return await asyncio.gather(*(ask(number) for number in range(CALLS)))


evaluate(
    asyncio.run(replies()),
    metrics=[NotSorry()],
    async_config=AsyncConfig(max_concurrent=CONNECTIONS),
    # Its cache is a file that is written anew for each case.
    cache_config=CacheConfig(write_cache=False),
    display_config=DisplayConfig(show_indicator=False, print_results=False),
)
