"""Ledger: what happens is written first, and told afterwards.

Without a store there is nothing to write, and nothing waits. When the store fails, everybody who waits for something to
be written hears that it was not.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from orchestrator.exceptions import StateError
from orchestrator.scheduling.records import Row

if TYPE_CHECKING:
    from orchestrator.store import Change, Journal, Store

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Hear = Callable[[], None]

_BETWEEN_FORGETTING = 64


class Ledger:
    """The store's journal, if there is one. `failed` is called once nothing more can be written."""

    def __init__(self, failed: _Hear) -> None:
        self._failed = failed
        self._journal: Journal | None = None
        self._flying: deque[tuple[_Hear, _Hear]] = deque()  # to be called when it is written, or else
        self._ended = 0
        self._closed = False
        self.broken: Exception | None = None
        """Why nothing more can be written."""

    @property
    def kept(self) -> bool:
        """Whether there is a store."""
        return self._journal is not None

    @property
    def writes(self) -> bool:
        """Whether there is a store that can be written."""
        return self._journal is not None and self.broken is None

    def check(self) -> None:
        """Raise what writing has failed with."""
        if self.broken is not None:
            raise self.broken

    async def open(self, path: str) -> None:
        """Open the store. Raises StoreError and ConcurrencyError, as `Store` does."""
        from orchestrator.store import Journal  # late: sqlite3 is for those who have a store

        self._journal = await Journal.open(path, self.fail)
        self._closed = False  # it may have been opened before, and what was in it not be read

    def put(self, changes: Sequence[Change], then: _Hear, otherwise: _Hear) -> None:
        """Write changes, and call `then`; or `otherwise`, when they could not be written."""
        assert self._journal is not None
        self._flying.append((then, otherwise))
        self._journal.put(changes, self._landed)

    def insert(self, row: Row, then: _Hear) -> asyncio.Future[None]:
        """Write a new row and call `then`, though nobody may wait for it any more. The future may have StoreError."""
        from orchestrator.store import Insert

        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def told() -> None:
            then()
            if done.done():
                return
            if self.broken is None:
                done.set_result(None)
            else:
                done.set_exception(self.broken)

        self.put([Insert(row)], told, told)
        return done

    def forget(self, keep: int) -> None:
        """Have all but the newest `keep` jobs that have ended forgotten, every now and then."""
        from orchestrator.store import Forget

        self._ended += 1
        if self._ended % _BETWEEN_FORGETTING == 1:
            self.put([Forget(keep)], _nothing, _nothing)

    async def ask(self, question: Callable[[Store], _T]) -> _T:
        """Put a question to the store, after all that was put before. Raises StateError once it was given back."""
        assert self._journal is not None
        if self._closed:
            raise StateError("the scheduler is closed and has given its store back: open another to look into it")
        return await self._journal.ask(question)

    async def read(self, job_id: str) -> Row | None:
        """Return a job's row, if there is one."""
        return await self.ask(lambda store: store.read(job_id)) if self.kept else None

    async def close(self) -> None:
        """Write what was put, and give the store back."""
        self._closed = True
        if self._journal is not None:
            await self._journal.close()

    def abandon(self) -> None:
        """Write what was put, give the store back, and take nothing more: the loop ends, nothing can be waited for."""
        if self._journal is not None and self.broken is None:
            self._journal.leave()
            self.fail(StateError("the scheduler was not closed when its event loop ended"))

    def fail(self, error: Exception) -> None:
        """Know that nothing more can be written."""
        if self.broken is not None:
            return
        self.broken = error
        while self._flying:
            _call(self._flying.popleft()[1])
        self._failed()

    def _landed(self) -> None:
        if self._flying:  # or it has been called a failure meanwhile
            _call(self._flying.popleft()[0])


def _call(hear: _Hear) -> None:
    try:
        hear()
    except Exception:  # a mistake of ours, which must not keep others of the same commit from being told
        _log.exception("the scheduler failed when it was told of something that was to be written")


def _nothing() -> None:
    """Do nothing."""
