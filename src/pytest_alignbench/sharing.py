"""How claims are shared out: among workers, processes and CI jobs, alike wherever their costs are known."""

from __future__ import annotations

from collections.abc import Sequence


def shares(cases: Sequence[tuple[str, int]], workers: int) -> list[list[int]]:
    """Indices of the cases, given as (key, cost), for each worker: the dearest first, each to the one with the least.

    The same in every process that knows the costs. Cases of one key, which is measured once, stay together. Within a
    share the cases keep their order. Graham's bound: no worker has more than 4/3 of the best possible largest share.
    """
    costs = dict(reversed(cases))
    first = {key: index for index, (key, _) in reversed(list(enumerate(cases)))}
    loads, worker_of = [0] * workers, {}  # type: tuple[list[int], dict[str, int]]
    for key in sorted(costs, key=lambda key: (-costs[key], first[key])):
        worker_of[key] = min(range(workers), key=lambda w: (loads[w], w))
        loads[worker_of[key]] += max(1, costs[key])
    return [[index for index, (key, _) in enumerate(cases) if worker_of[key] == worker] for worker in range(workers)]


def divided(total: int, parts: int) -> list[int]:
    """`total` in so many whole parts that differ by at most one: connections among processes, never more than there are."""
    return [total // parts + (part < total % parts) for part in range(parts)]
