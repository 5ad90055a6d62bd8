"""The same prompts as a dataset of pydantic-evals."""

import asyncio
import os
from dataclasses import dataclass

from openai import AsyncOpenAI
from pydantic_evals import Case, Dataset
from pydantic_evals.evaluators import Evaluator, EvaluatorContext

CALLS = int(os.environ["BENCH_CLAIMS"]) * int(os.environ["BENCH_PROMPTS"])
CONNECTIONS = int(os.environ["BENCH_CONNECTIONS"])


@dataclass
class NotSorry(Evaluator[str, str]):
    def evaluate(self, ctx: EvaluatorContext[str, str]) -> bool:
        return "sorry" not in ctx.output.lower()


async def main() -> None:
    async with AsyncOpenAI() as client:

        async def ask(asked: str) -> str:
            reply = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": asked}])
            return reply.choices[0].message.content or ""

        asked = (f"Question #{n:06}: what is the capital of France?" for n in range(CALLS))
        cases = [Case(name=str(n), inputs=text) for n, text in enumerate(asked)]
        dataset = Dataset(name="bench", cases=cases, evaluators=[NotSorry()])
        report = await dataset.evaluate(ask, max_concurrency=CONNECTIONS, progress=False)
        print(report.averages())


asyncio.run(main())
