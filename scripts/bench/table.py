"""Print what was measured, as plain text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from measure import Tally
from rows import OURS, Row

_LOOSE = "batched, isolates nothing"

Measured = Sequence[tuple[Row, Sequence[Tally]]]
Line = tuple[str, ...]


def plain(measured: Measured, notes: Sequence[str]) -> str:
    """Return the tables with aligned columns."""
    blocks = ["\n".join(notes)]
    for row, tallies in measured:
        lines = list(_lines(row, tallies))
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        text = [f"{row.number}. {row.title} ({row.unit})"]
        for line in lines:
            cells = [
                cell.rjust(width) if 0 < column < 4 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            text.append(("  " + "  ".join(cells)).rstrip())
        blocks.append("\n".join(text))
    return "\n\n".join(blocks) + "\n"


def markdown(measured: Measured, notes: Sequence[str]) -> str:
    """Return the tables in Markdown."""
    blocks = ["\n".join(f"- {note}" for note in notes)]
    for row, tallies in measured:
        head, *lines = _lines(row, tallies)
        table = [_bar(head), "| --- | ---: | ---: | ---: | --- | --- |", *map(_bar, lines)]
        blocks.append(f"**{row.number}. {row.title}** ({row.unit})\n\n" + "\n".join(table))
    return "\n\n".join(blocks) + "\n"


def _bar(cells: Line) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _lines(row: Row, tallies: Sequence[Tally]) -> Iterator[Line]:
    """Yield the head, ours, then the others from the best to the worst; those that batch come last."""
    yield ("", "median", "max" if row.more_is_better else "min", "to ours", "besides", "to reach")
    present = [tally for tally in tallies if not tally.entry.missing]
    base = next((tally.median for tally in present if tally.entry.name == OURS and tally.readings), None)

    def rank(tally: Tally) -> tuple[bool, bool, bool, float]:
        figure = tally.median if tally.readings else 0.0
        worth = -figure if row.more_is_better else figure
        return tally.entry.name != OURS, tally.entry.loose, not tally.readings, worth

    for tally in sorted(present, key=rank):
        aim = row.to_reach if tally.entry.name == OURS else ""
        if not tally.readings:
            yield (tally.entry.name, "-", "-", "-", tally.problem, aim)
            continue
        median, best = tally.median, tally.best(row.more_is_better)
        ratio = f"{median / base:.2f} x" if base else "-"
        yield (tally.entry.name, _figure(median), _figure(best), ratio, _besides(tally), aim)


def _besides(tally: Tally) -> str:
    """Return what was counted, as a range where the rounds differ."""
    parts = [_LOOSE] if tally.entry.loose else []
    for fact in tally.readings[0].facts:
        counts = [reading.facts[fact] for reading in tally.readings]
        low, high = min(counts), max(counts)
        parts.append(f"{low if low == high else f'{low} to {high}'} {fact}")
    if tally.problem:
        parts.append(f"after {len(tally.readings)} rounds {tally.problem}")
    return ", ".join(parts)


def _figure(value: float) -> str:
    """Return a figure with about three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
