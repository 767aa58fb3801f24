"""How a workflow is shown: as a Mermaid flowchart, in Graphviz's DOT, as a table. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from orchestrator.dag.model import TaskResult, TaskStatus
from orchestrator.wording import count, duration, size, visible

_COLOURS = {
    TaskStatus.COMPLETED: ("completed", "#d5f0d9", "#2e7d32"),
    TaskStatus.FAILED: ("failed", "#f9d5d5", "#c62828"),
    TaskStatus.SKIPPED: ("skipped", "#eeeeee", "#9e9e9e"),
}
"""Class, fill and stroke of a task that has ended."""

_Needs = Mapping[str, Collection[str]]
_Results = Mapping[str, TaskResult]


def mermaid(needs: _Needs, results: _Results) -> str:
    """Return a Mermaid flowchart, an arrow from each task to those that wait for it."""
    ids = {name: f"t{number}" for number, name in enumerate(needs)}
    lines = ["flowchart LR"]
    for name, label in _labels(needs, results):
        text = "<br>".join(_entities(part) for part in label)
        kind = f":::{_COLOURS[results[name].status][0]}" if name in results else ""
        lines.append(f'    {ids[name]}["{text}"]{kind}')
    lines += [f"    {ids[before]} --> {ids[name]}" for before, name in _edges(needs)]
    for status in sorted({result.status for result in results.values()}, key=lambda status: status.value):
        kind, fill, stroke = _COLOURS[status]
        lines.append(f"    classDef {kind} fill:{fill},stroke:{stroke}")
    return "\n".join(lines) + "\n"


def dot(needs: _Needs, results: _Results) -> str:
    """Return a digraph in DOT, an arrow from each task to those that wait for it."""
    lines = ["digraph workflow {", "    rankdir=LR", '    node [shape=box, style="rounded,filled", fillcolor=white]']
    for name, label in _labels(needs, results):
        attributes = ""
        if name in results:
            _, fill, stroke = _COLOURS[results[name].status]
            attributes = f', fillcolor="{fill}", color="{stroke}"'
        lines.append(f"    {_quoted(name)} [label={_quoted(chr(10).join(label))}{attributes}]")
    lines += [f"    {_quoted(before)} -> {_quoted(name)}" for before, name in _edges(needs)]
    return "\n".join([*lines, "}"]) + "\n"


def summary(names: Collection[str], results: _Results, critical_path: Sequence[str]) -> str:
    """Return a table with a line for each task, and the totals."""
    rows: list[tuple[str, ...]] = [("task", "status", "attempts", "start", "wall", "CPU", "peak")]
    rows += [_row(name, results.get(name)) for name in names]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, "", _totals(names, results, critical_path)]) + "\n"


def _row(name: str, result: TaskResult | None) -> tuple[str, ...]:
    shown = visible(name)
    if result is None:
        return shown, TaskStatus.PENDING.value, "", "", "", "", ""
    if result.status is TaskStatus.SKIPPED:
        return shown, result.status.value, "", "", "", "", ""
    status = result.status.value if result.success else f"{result.status.value} ({result.ending.value})"
    return (
        shown,
        status,
        str(result.attempts),
        duration(result.started),
        duration(result.execution_time),
        duration(result.cpu_time) if result.cpu_time else "",
        size(result.peak_memory) if result.peak_memory else "",
    )


def _totals(names: Collection[str], results: _Results, critical_path: Sequence[str]) -> str:
    statuses = Counter(result.status for result in results.values())
    parts = [f"{statuses[status]} {status.value}" for status in _COLOURS if statuses[status]]
    if len(results) < len(names):
        parts.append(f"{len(names) - len(results)} not run")
    line = f"{count(len(names), 'task')}: {', '.join(parts) or 'nothing to do'}"
    ran = [result for result in results.values() if result.attempts]
    if ran:
        line += f" in {duration(max(result.started + result.execution_time for result in ran))}"
    timed = [name for name in critical_path if name in results and results[name].attempts]
    if timed:
        seconds = sum(results[name].execution_time for name in timed)
        shown = [visible(name) for name in timed]
        if len(shown) > _SHOWN:
            shown[_SHOWN // 2 : -_SHOWN // 2] = ["..."]
        line += f"\nlongest path: {' > '.join(shown)} ({duration(seconds)})"
    return line


_SHOWN = 10
"""Tasks of the longest path that are named."""


def _labels(needs: _Needs, results: _Results) -> Iterator[tuple[str, list[str]]]:
    """Yield each name with the lines that stand in its box."""
    for name in needs:
        lines = [visible(name)]
        result = results.get(name)
        if result is not None and result.attempts:
            tries = f", {result.attempts} attempts" if result.attempts > 1 else ""
            lines.append(f"{duration(result.execution_time)}{tries}")
        yield name, lines


def _edges(needs: _Needs) -> Iterator[tuple[str, str]]:
    for name, dependencies in needs.items():
        for before in sorted(dependencies):
            yield before, name


def _entities(text: str) -> str:
    """Escape what means something inside the quotes of a Mermaid label."""
    return "".join(f"#{ord(c)};" if c in '"#<>&`\\' else c for c in text)


def _quoted(text: str) -> str:
    """Return a quoted string of DOT, whose line breaks stand for themselves."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
