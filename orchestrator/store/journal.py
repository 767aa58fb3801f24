"""The thread that writes a store for an event loop: what gathers while it writes goes to the disk together.

Guarantees: the loop never waits for the disk. What was put is written in that order, all that has gathered in one
transaction; only then is each `then` of it called, in the loop. When that fails nothing of the transaction is written,
`failed` is called once, and no `then` any more. However the program ends, that of which `then` was called is on the
disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from orchestrator.exceptions import StateError, StoreError
from orchestrator.store import lease
from orchestrator.store.schema import Change
from orchestrator.store.store import Store

HEARTBEAT_SECONDS = 5.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Put:
    changes: Sequence[Change]
    then: Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Ask:
    question: Callable[[Store], Any]
    answer: asyncio.Future[Any]


class _Close:
    """The last order."""


class Journal:
    """A store and its thread; `open` makes one. For the thread of the loop that opened it, and for its process.

    The thread waits for orders, each of which wakes it, and at most until the lease is to be renewed.
    """

    def __init__(self, path: str | os.PathLike[str], failed: Callable[[Exception], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._failed = failed
        self._pid = os.getpid()
        self._orders: queue.SimpleQueue[_Put | _Ask | _Close] = queue.SimpleQueue()
        # A daemon: a program that forgets to close must be able to end, and loses nothing that it was told is written.
        self._thread = threading.Thread(target=self._live, args=[path], name="orchestrator-store", daemon=True)
        # The loop's thread alone has these:
        self._error: Exception | None = None
        self._closing = False
        self._asked = set[asyncio.Future[Any]]()
        self._ended: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def open(cls, path: str | os.PathLike[str], failed: Callable[[Exception], None]) -> Journal:
        """Open a store in a thread of its own. Raises what `Store` raises.

        `failed` is called in the loop, once, with what makes that nothing more can be written.
        """
        journal = cls(path, failed)
        await journal._open()
        return journal

    def put(self, changes: Sequence[Change], then: Callable[[], None]) -> None:
        """Have changes written, and `then` called in the loop when they are on the disk. Never blocks.

        Raises what writing has failed with, and StateError when it has been closed.
        """
        self._order(_Put(changes, then))

    async def ask(self, question: Callable[[Store], _T]) -> _T:
        """Put a question to the store in its thread, after all that was put before, and return the answer.

        Raises what the question raises, and what `put` raises.
        """
        answer: asyncio.Future[_T] = self._loop.create_future()
        self._order(_Ask(question, answer))
        self._asked.add(answer)
        try:
            return await answer
        finally:
            self._asked.discard(answer)

    async def close(self) -> None:
        """Write what was put, close the store and end the thread. Should that fail, `failed` is told."""
        self.leave()
        await asyncio.shield(self._ended)

    def leave(self) -> None:
        """Do as `close` does, but do not wait for it."""
        if not self._closing:
            self._closing = True
            self._orders.put(_Close())

    async def _open(self) -> None:
        self._thread.start()
        try:
            await self.ask(lambda store: None)
        except asyncio.CancelledError:
            self._orders.put(_Close())
            raise

    def _order(self, order: _Put | _Ask) -> None:
        if self._pid != os.getpid():
            raise StateError(f"the journal was opened by process {self._pid}, of which this one is a fork")
        if self._error is not None:
            raise self._error
        if self._closing:
            raise StateError("the journal has been closed")
        self._orders.put(order)

    def _live(self, path: str | os.PathLike[str]) -> None:
        """Be the thread."""
        # The kernel may give a signal to any thread that does not block it, and then the main thread sleeps on.
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        opened = False
        error: BaseException | None = None
        try:
            with contextlib.closing(Store(path)) as store:
                opened = True
                self._serve(store)
        except BaseException as problem:  # a mistake of ours has to be told as well, or all would wait for ever
            error = problem
        self._tell(self._end, _as_error(error), opened)

    def _serve(self, store: Store) -> None:
        while True:
            puts, order = self._gather(store.renewed + HEARTBEAT_SECONDS - lease.now())
            if puts:
                store.write([change for put in puts for change in put.changes])
                self._tell(self._written, puts)
            elif lease.now() - store.renewed >= HEARTBEAT_SECONDS:
                store.beat()
            if isinstance(order, _Ask):
                self._answer(store, order)
            elif order is not None or (not puts and self._loop.is_closed()):
                return

    def _gather(self, seconds: float) -> tuple[list[_Put], _Ask | _Close | None]:
        """Return all that has been put by now, up to another kind of order; wait for so long if there is nothing."""
        puts = list[_Put]()
        with contextlib.suppress(queue.Empty):
            order = self._orders.get(timeout=max(0.0, seconds))
            while isinstance(order, _Put):
                puts.append(order)
                order = self._orders.get_nowait()
            return puts, order
        return puts, None

    def _answer(self, store: Store, order: _Ask) -> None:
        answer, error = None, None
        try:
            answer = order.question(store)
        except BaseException as problem:  # of whoever asks: rebuilding what a module of the user's no longer has
            error = _as_error(problem)
        self._tell(_settle, order.answer, answer, error)

    def _tell(self, callback: Callable[..., None], *args: object) -> None:
        """Have something called in the loop; when that is closed, nobody is left to know."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *args)

    def _written(self, puts: list[_Put]) -> None:
        for put in puts:
            put.then()

    def _end(self, error: Exception | None, opened: bool) -> None:
        """Know, in the loop, that the thread has nothing left to do."""
        self._thread.join()
        self._closing = True
        self._error = error
        for answer in self._asked:
            _settle(answer, None, error or StateError("the journal has been closed"))
        self._ended.set_result(None)
        if opened and error is not None:
            self._failed(error)


def _as_error(problem: BaseException | None) -> Exception | None:
    """Return what the loop is told: an exit is for this thread only."""
    if problem is None or isinstance(problem, Exception):
        return problem
    return StoreError(f"the store's thread was ended by {problem!r}")


def _settle(future: asyncio.Future[Any], answer: object, error: Exception | None) -> None:
    if future.done():  # whoever asked has been cancelled
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)
