"""Cancellation: what stops ordinary work, and lets go on what runs "always", as CI systems have it.

Whoever waits for a pipeline can still stop all of it, by the scope that each thread of a workflow runs in
(`orchestrator.stopping`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from orchestrator.stopping import Scope, entered, stoppable


class Cancellation:
    """One order to stop, for a run, for the jobs of one matrix, for one job. Requests of the `parents` count too."""

    def __init__(self, *parents: Cancellation) -> None:
        self.parents = parents
        self.scope = Scope()

    @property
    def requested(self) -> bool:
        """Whether it was asked for."""
        return self.scope.stopped or any(parent.requested for parent in self.parents)

    def request(self) -> None:
        """Stop the ordinary work that it covers, now and later. Safe in any thread and in a signal handler."""
        self.scope.stop()

    @contextlib.contextmanager
    def covering(self) -> Iterator[None]:
        """Have what runs in the present thread stopped by a request, as long as the context lasts."""
        inner = Scope()
        with contextlib.ExitStack() as holders:
            holders.enter_context(stoppable(inner.stop))
            orders = [self]
            while orders:
                order = orders.pop()
                holders.enter_context(order.scope.holding(inner.stop))
                orders += order.parents
            holders.enter_context(entered(inner))
            yield
