"""An xdist scheduler that gives each worker the claims it is measuring already. The only module that imports xdist.

The first distribution follows `session.shares`, which every worker computes for itself from the same collection.
Everything else, other tests and the claims of a worker that died, goes the way of xdist's own load scheduling.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScheduling

from pytest_alignbench.session import Exchange
from pytest_alignbench.sharing import shares


class ShareScheduling(LoadScheduling):
    """Load scheduling whose first distribution is each worker's own share of the claims."""

    def __init__(self, config: Any, log: Any, exchange: Exchange) -> None:
        super().__init__(config, log)
        self.collection: list[str] | None
        self.maxschedchunk: int | None
        self._exchange = exchange

    def schedule(self) -> None:
        """See the base class. A session without claims is scheduled as it always was."""
        cases = self._exchange.cases() if self.collection is None else []
        if not cases or not self._check_nodes_have_same_collection():
            super().schedule()
            return
        self.collection = next(iter(self.node2collection.values()))
        if self.maxschedchunk is None:
            self.maxschedchunk = len(self.collection)
        place = {nodeid: index for index, nodeid in enumerate(self.collection)}
        claims = [place[nodeid] for nodeid, _, _ in cases]
        by_number = {int(node.gateway.id.removeprefix("gw")): node for node in self.nodes}
        given: set[int] = set()
        for number, share in enumerate(shares([(key, cost) for _, key, cost in cases], self.numnodes)):
            if number in by_number:
                self.pending[:] = [claims[index] for index in share]
                given.update(self.pending)
                self._send_tests(by_number[number], len(self.pending))
        self.pending[:] = [index for index in range(len(self.collection)) if index not in given]
        for node in self.nodes:
            self.check_schedule(node)
