"""What is shown of results, as rich renderables: a script's output, the summary table, the totals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, assert_never

from rich.cells import cell_len, set_cell_size
from rich.console import RenderableType
from rich.text import Text

from orchestrator.cli.record import Record, reason, was_run
from orchestrator.cli.wording import end_of, neutral, shorten
from orchestrator.outcome import Ending
from orchestrator.reports.run import Entry, Run
from orchestrator.results import ExecutionResult
from orchestrator.wording import count, duration, size

TAIL_LINES = 20
"""So much of each stream is shown of a script that failed."""

IDLE_ROWS = 5
"""So many rows the table has for scripts that were not run; more are only counted."""

NAME_COLUMNS = 16
"""The table would rather lose a column than cut names shorter than this."""


def style_of(ending: Ending) -> str:
    """Return the colour of an ending: good, bad, or neither."""
    match ending:
        case Ending.OK:
            return "green"
        case Ending.CANCELLED | Ending.SKIPPED:
            return "yellow"
        case Ending.RAISED | Ending.TIMED_OUT | Ending.OUT_OF_MEMORY | Ending.CRASHED | Ending.UNSENDABLE:
            return "red"
        case _:
            assert_never(ending)


def section(label: str, result: ExecutionResult, lines: int | None = None) -> Iterator[Text]:
    """Show how a script ended and what it printed: all of it, or the last lines of each stream."""
    heading = Text.assemble(("── ", style_of(result.ending)), (label, "bold"))
    heading.append(f": {result.ending.value}", style_of(result.ending))
    heading.append(f" after {duration(result.execution_time)}")
    if result.attempts > 1:
        heading.append(f", attempt {result.attempts}")
    if result.tolerated and not result.success:
        heading.append(", allowed to fail")
    yield heading
    if not result.success:
        yield from _indented(end_of(reason(result), TAIL_LINES)[0], 3)
    if result.stages:
        yield from _parts(result.stages, lines, 3)
    else:
        yield from _streams(result, lines, 3)
    yield Text()


def _parts(parts: Sequence[ExecutionResult], lines: int | None, columns: int) -> Iterator[Text]:
    """Show the commands of a stage or the steps of a job: how each ended, and what those printed that matter."""
    for part in parts:
        heading = Text.assemble(" " * columns, ("· ", style_of(part.ending)), neutral(part.name))
        heading.append(f": {part.ending.value}", style_of(part.ending))
        if was_run(part):
            heading.append(f" after {duration(part.execution_time)}")
        elif part.reason:
            heading.append(f", {neutral(part.reason).strip().removeprefix('skipped: ')}")
        yield heading
        if part.stages:
            yield from _parts(part.stages, lines, columns + 3)
        elif not part.success or lines is None:
            yield from _streams(part, lines, columns + 3)


def _streams(result: ExecutionResult, lines: int | None, columns: int) -> Iterator[Text]:
    """Show what was printed: all of it, or the last lines of each stream."""
    for name, stream in zip(("stdout", "stderr"), result.streams, strict=True):
        text = stream.decode("utf-8", "replace")
        kept, cut = end_of(text, lines) if lines else (neutral(text).rstrip("\n").split("\n"), False)
        if any(kept):
            heading = f"{name}, the last {count(lines or 0, 'line')}:" if cut else f"{name}:"
            yield Text(" " * columns + heading, "dim")
            yield from _indented(kept, columns + 2)


def _indented(lines: Sequence[str], columns: int) -> Iterator[Text]:
    """Yield lines as one text, which is printed at once however many they are."""
    if any(lines):
        yield Text("\n".join(" " * columns + line if line else "" for line in lines), no_wrap=True)


def report(record: Record, width: int, *, quiet: bool, told: bool = False) -> Iterator[RenderableType]:
    """Show the failures (unless they were told already), the table (unless quiet) and the totals, to fit a width."""
    if not record.order.tasks:
        yield Text(f"no {record.order.noun}s: there was nothing to run")
        return
    for index, result in record.results.items():
        if not told and not result.success and was_run(result):
            yield from section(record.order.label(index), result, TAIL_LINES)
    if not quiet:
        yield _table(record, width)
        yield Text()
        yield from _reasons(record)
    yield totals(record)


def _reasons(record: Record) -> Iterator[Text]:
    """Say why stages or jobs were skipped, which their conditions may do."""
    skipped = [index for index, result in record.results.items() if result.ending is Ending.SKIPPED]
    if record.order.noun not in ("stage", "job") or not skipped:
        return
    for index in skipped[:IDLE_ROWS]:
        reason = neutral(record.results[index].reason).strip()
        yield Text(f"{record.order.label(index)}: {reason}", "dim", no_wrap=True)
    if len(skipped) > IDLE_ROWS:
        yield Text(f"… and {len(skipped) - IDLE_ROWS} more were skipped", "dim")
    yield Text()


class _Column(NamedTuple):
    heading: str
    cell: Callable[[ExecutionResult], str]
    align: Callable[[str, int], str] = str.rjust


_ENDING = _Column("ending", lambda result: result.ending.value, str.ljust)
_EXIT = _Column("exit", lambda result: str(result.return_code))
_TRIES = _Column("tries", lambda result: str(result.attempts))
_WALL = _Column("wall", lambda result: duration(result.execution_time))
_CPU = _Column("CPU", lambda result: duration(result.cpu_time))
_PEAK = _Column("peak", lambda result: size(result.peak_memory))


def _table(record: Record, width: int) -> Text:
    """Return the table, slowest first, without the columns for which there is no room.

    It is laid out here because rich's Table takes 4 seconds for 10,000 rows.
    """
    order, results = record.order, record.results
    rows = sorted(results, key=lambda index: -results[index].execution_time)
    idle = [index for index in rows if not was_run(results[index])]
    unlisted = frozenset(idle[IDLE_ROWS:] if len(idle) > IDLE_ROWS + 1 else ())
    rows = [index for index in rows if index not in unlisted]
    names = [order.label(index) for index in rows]
    columns = [_ENDING, _EXIT, _TRIES, _WALL, _CPU, _PEAK]
    if all(result.attempts <= 1 for result in results.values()):
        columns.remove(_TRIES)
    cells = {column: [_cell(column, results[index]) for index in rows] for column in columns}
    widths = {column: max(map(len, [column.heading, *cells[column]])) for column in columns}
    longest = max(map(cell_len, [order.noun, *names]))
    room = width
    for expendable in (None, _CPU, _PEAK, _EXIT, _TRIES, _WALL):
        if expendable in columns:
            columns.remove(expendable)
        room = width - sum(2 + widths[column] for column in columns)
        if room >= min(longest, NAME_COLUMNS):
            break
    room = max(1, min(longest, room))

    headings = [column.align(column.heading, widths[column]) for column in columns]
    table = Text(no_wrap=True)
    table.append("  ".join([set_cell_size(order.noun, room), *headings]).rstrip(), "dim")
    for place, index in enumerate(rows):
        table.append("\n" + set_cell_size(shorten(names[place], room), room))
        for column in columns:
            style = style_of(results[index].ending) if column is _ENDING else None
            table.append("  " + column.align(cells[column][place], widths[column]), style)
    if unlisted:
        table.append(f"\n… and {len(unlisted)} more that were not run", "yellow")
    return table


def _cell(column: _Column, result: ExecutionResult) -> str:
    if column is not _ENDING and not was_run(result):
        return "-"
    return column.cell(result)


def totals(record: Record) -> Text:
    """Say in one line what came of the run."""
    line = Text(f"{count(len(record.order.tasks), record.order.noun)}: ")
    parts = [Text(f"{number} {ending.value}", style_of(ending)) for ending, number in record.counts().items()]
    lost = len(record.order.tasks) - len(record.results)
    if lost:
        parts.append(Text(f"{lost} without a result", "red"))
    line.append_text(Text(", ").join(parts))
    jobs = count(record.order.jobs, "job")
    if record.order.noun in ("stage", "job"):  # where a job is something else
        jobs = f"{record.order.jobs} at a time"
    line.append(f" in {duration(record.seconds)} ({jobs})")
    if record.stopped_by:
        line.append(f", stopped by {record.stopped_by.name}")
    if record.ended_early:
        line.append(f", given up because {record.ended_early}")
    return line


def run_of(record: Record) -> Run:
    """Return a run as the reports see it."""
    order = record.order
    trouble = record.problem and f"the run could not go on: {record.problem}"
    if record.stopped_by is not None:
        trouble = f"stopped by {record.stopped_by.name}"
    return Run(
        tuple(Entry(order.label(index), record.results.get(index)) for index in range(len(order.tasks))),
        str(totals(record)),
        record.seconds,
        datetime.now(UTC) - timedelta(seconds=record.seconds),
        order.noun,
        trouble or record.ended_early,
    )
