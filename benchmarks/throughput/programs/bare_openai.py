"""The official client, asynchronous, as many calls at once as there are connections, and a look at each reply."""

import asyncio
import os

from openai import AsyncOpenAI

CALLS = int(os.environ["BENCH_CLAIMS"]) * int(os.environ["BENCH_PROMPTS"])
CONNECTIONS = int(os.environ["BENCH_CONNECTIONS"])


async def main() -> None:
    free = asyncio.Semaphore(CONNECTIONS)
    async with AsyncOpenAI() as client:

        async def ask(number: int) -> bool:
            asked = f"Question #{number:06}: what is the capital of France?"
            async with free:
                reply = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": asked}])
            return "sorry" not in (reply.choices[0].message.content or "").lower()

        print(sum(await asyncio.gather(*(ask(number) for number in range(CALLS)))), "of", CALLS)


asyncio.run(main())
