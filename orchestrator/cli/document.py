"""The JSON of `--json`, and of `meta.json`: plain values with the units in their names."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.cli.order import Order
from orchestrator.cli.record import Record, reason
from orchestrator.cli.wording import unicode
from orchestrator.results import ExecutionResult


def describe(order: Order, index: int, result: ExecutionResult) -> dict[str, Any]:
    """Return everything about a script's result but its output."""
    return {
        "index": index,
        "script": unicode(order.scripts[index]),
        "arguments": [unicode(argument) for argument in order.arguments],
        "ending": result.ending.value,
        "success": result.success,
        "return_code": result.return_code,
        "reason": reason(result),
        "attempts": result.attempts,
        "seconds": round(result.execution_time, 6),
        "cpu_seconds": round(result.cpu_time, 6),
        "peak_memory_bytes": result.peak_memory,
        "pid": result.pid,
    }


def document_of_record(record: Record, exit_code: int) -> str:
    """Return one JSON document, ASCII only, with all that is known about a run."""
    scripts = []
    for index, result in record.results.items():
        stdout, stderr = (stream.decode("utf-8", "replace") for stream in result.streams)
        scripts.append({**describe(record.order, index, result), "stdout": stdout, "stderr": stderr})
    return _dump(
        {
            "success": record.success,
            "exit_code": exit_code,
            "problem": unicode(record.problem),
            "stopped_by": record.stopped_by.name if record.stopped_by else None,
            "jobs": record.order.jobs,
            "seconds": round(record.seconds, 6),
            "counts": {ending.value: number for ending, number in record.counts().items()},
            "scripts": scripts,
        }
    )


def document_of_order(order: Order) -> str:
    """Return one JSON document with what would run. Variables are named, their values kept out."""
    return _dump(
        {
            "dry_run": True,
            "jobs": order.jobs,
            "timeout_seconds": order.limits.seconds,
            "grace_seconds": order.limits.grace,
            "memory_bytes": order.limits.memory,
            "retries": order.retries,
            "fail_fast": order.fail_fast,
            "cwd": None if order.cwd is None else unicode(order.cwd),
            "variables": sorted(map(unicode, order.env)),
            "arguments": [unicode(argument) for argument in order.arguments],
            "scripts": [unicode(script) for script in order.scripts],
        }
    )


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
