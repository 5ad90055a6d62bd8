"""How long does a suite take beside what its provider takes? Every way to ask the same prompts, on the same provider.

    python -m benchmarks.throughput                                    60 claims x 50 prompts at 0.5 s, 50 connections
    python -m benchmarks.throughput --latency 0.1 --claims 20 --peers FOLDER --install     with peers, installed there
    python -m benchmarks.throughput --ways ours aiohttp --sigma 0.8    a heavy tail, two ways
    python -m benchmarks.throughput --errors 0.05 --rate-limited 0.05  a provider in trouble
    python -m benchmarks.throughput --targets --write                  what we promise, and into docs/performance.md
    python -m benchmarks.throughput --quick                            does it run at all?

    server.py      the provider: a process of its own, lean, which counts and keeps what it dealt
    processes.py   seconds, CPU and memory of a command and all its children, from outside
    ways.py        the commands, and where their programs come from
    programs/      what each way runs
    rounds.py      one way on one provider; all ways in turn, again and again
    tables.py      what is printed

The lower bound is the sum of the delays that the provider dealt, over the connections: perfect packing. A ratio counts
all there is: start-up, imports, reports, exit.
"""
