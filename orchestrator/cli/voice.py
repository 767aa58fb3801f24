"""What is said on standard output while tasks run: sections, tagged lines, lines of JSON, or nothing.

A voice turns an event into pieces to print, in the thread that runs the tasks. Who prints them is the display, because
on a terminal they have to come above its picture.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

from rich.text import Text

from orchestrator.cli.document import line_of_event
from orchestrator.cli.order import Order
from orchestrator.cli.record import was_run
from orchestrator.cli.report import section
from orchestrator.events import Event, Finished, Printed, Retrying


class Piece(NamedTuple):
    """Something to print to stream 1 (standard output) or 2: rich text, or what a program wrote as it is."""

    stream: int
    text: Text | str


class Voice(Protocol):
    """What a display asks."""

    def hear(self, event: Event) -> Iterable[Piece]:
        """Return what is to be printed now."""


class Silence:
    """Say nothing."""

    def hear(self, event: Event) -> Iterable[Piece]:
        """Return nothing."""
        return ()


class Sections:
    """Say, when a task has finished, how it ended and what it printed."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def hear(self, event: Event) -> Iterator[Piece]:
        """Yield the section of a task that has finished."""
        if isinstance(event, Finished) and was_run(event.result):
            for text in section(self._order.label(event.index), event.result):
                yield Piece(1, text)


class Lines:
    """Say what tasks print, line by line: each line as it comes if they are heard live, else when they have finished.

    With `tag`, the task's name and a tab stand before each line, as GNU parallel has it.
    """

    def __init__(self, order: Order, *, tag: bool, live: bool) -> None:
        self._order = order
        self._tag = tag
        self._live = live
        self._begun: dict[tuple[int, int], bytes] = {}

    def hear(self, event: Event) -> Iterator[Piece]:
        """Yield the lines that are complete; at a task's end also one that is not."""
        match event:
            case Printed():
                key = event.index, event.stream
                whole, newline, rest = (self._begun.pop(key, b"") + event.data).rpartition(b"\n")
                self._begun[key] = rest
                yield from self._lines(event.index, event.stream, whole + newline)
            case Finished() | Retrying():
                for stream in (1, 2):
                    if self._live:
                        yield from self._lines(event.index, stream, self._begun.pop((event.index, stream), b""))
                    elif isinstance(event, Finished):
                        yield from self._lines(event.index, stream, event.result.streams[stream - 1])

    def _lines(self, index: int, stream: int, data: bytes) -> Iterator[Piece]:
        if not data:
            return
        text = data.decode("utf-8", "surrogateescape")
        text = text if text.endswith("\n") else f"{text}\n"
        if self._tag:
            label = self._order.label(index)
            text = "".join(f"{label}\t{line}\n" for line in text[:-1].split("\n"))
        yield Piece(stream, text)


class JsonLines:
    """Say everything, as lines of JSON; of what tasks print, only whole characters."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._decoders: dict[tuple[int, int], codecs.IncrementalDecoder] = {}

    def hear(self, event: Event) -> Iterator[Piece]:
        """Yield the line of an event; at an attempt's end first what it has printed of a character."""
        if isinstance(event, Printed):
            key = event.index, event.stream
            decoder = self._decoders.setdefault(key, codecs.getincrementaldecoder("utf-8")("replace"))
            if text := decoder.decode(event.data):
                yield from self._line(replace(event, data=text.encode()))
            return
        if isinstance(event, (Retrying, Finished)):
            for stream in (1, 2):
                begun = self._decoders.pop((event.index, stream), None)
                if begun is not None and (text := begun.decode(b"", final=True)):
                    yield from self._line(Printed(event.index, event.name, stream, text.encode()))
        yield from self._line(event)

    def _line(self, event: Event) -> Iterator[Piece]:
        line = line_of_event(self._order, event)
        if line is not None:
            yield Piece(1, line)


class InOrder:
    """Hold back what is said of a task until all before it have finished."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._held: dict[int, list[Piece]] = {}
        self._finished: set[int] = set()
        self._due = 0

    def hear(self, event: Event) -> Iterator[Piece]:
        """Yield what no longer has to wait."""
        pieces = self._held.setdefault(event.index, [])
        pieces += self._voice.hear(event)
        if isinstance(event, Finished):
            self._finished.add(event.index)
        while True:
            yield from self._held.pop(self._due, ())
            if self._due not in self._finished:
                return
            self._finished.remove(self._due)
            self._due += 1
