"""Cancellation: what stops ordinary work, and lets go on what runs "always", as CI systems have it.

Whoever waits for a pipeline can still stop all of it, by the scope that each thread of a workflow runs in
(`orchestrator.stopping`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from orchestrator.stopping import Scope, entered, stoppable


class Cancellation:
    """One order to stop, for a run, or for the jobs of one matrix. A request of the `parent` counts too."""

    def __init__(self, parent: Cancellation | None = None) -> None:
        self.parent = parent
        self.scope = Scope()

    @property
    def requested(self) -> bool:
        """Whether it was asked for."""
        return self.scope.stopped or (self.parent is not None and self.parent.requested)

    def request(self) -> None:
        """Stop the ordinary work that it covers, now and later. Safe in any thread and in a signal handler."""
        self.scope.stop()

    @contextlib.contextmanager
    def covering(self) -> Iterator[None]:
        """Have what runs in the present thread stopped by a request, as long as the context lasts."""
        inner = Scope()
        with contextlib.ExitStack() as holders:
            holders.enter_context(stoppable(inner.stop))
            order: Cancellation | None = self
            while order is not None:
                holders.enter_context(order.scope.holding(inner.stop))
                order = order.parent
            holders.enter_context(entered(inner))
            yield
