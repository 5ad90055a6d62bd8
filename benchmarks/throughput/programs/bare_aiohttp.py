"""The least that one can do: aiohttp, as many calls at once as there are connections, and a look at each reply."""

import asyncio
import os

import aiohttp

CALLS = int(os.environ["BENCH_CLAIMS"]) * int(os.environ["BENCH_PROMPTS"])
CONNECTIONS = int(os.environ["BENCH_CONNECTIONS"])
URL = os.environ["OPENAI_BASE_URL"]


async def main() -> None:
    free = asyncio.Semaphore(CONNECTIONS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

        async def ask(number: int) -> bool:
            asked = {"role": "user", "content": f"Question #{number:06}: what is the capital of France?"}
            body = {"model": "m", "messages": [asked]}
            async with free, session.post(f"{URL}/chat/completions", json=body) as reply:
                said = (await reply.json())["choices"][0]["message"]["content"]
            return "sorry" not in said.lower()

        print(sum(await asyncio.gather(*(ask(number) for number in range(CALLS)))), "of", CALLS)


asyncio.run(main())
