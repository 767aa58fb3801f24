"""The JSON of `--json`, `--jsonl` and of `meta.json`: plain values with the units in their names."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from orchestrator.cli.order import Order
from orchestrator.cli.record import Record, reason
from orchestrator.cli.wording import unicode
from orchestrator.dag.model import Task
from orchestrator.events import Event, Finished, Printed, Retrying, Started
from orchestrator.programs import Program, Script, Shell
from orchestrator.results import ExecutionResult


def describe(order: Order, index: int, result: ExecutionResult) -> dict[str, Any]:
    """Return everything about a task's result but its output."""
    task = order.tasks[index]
    return {
        "index": index,
        "name": unicode(task.name),
        **_script_of(task),
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
    tasks = [_with_output(record.order, index, result) for index, result in record.results.items()]
    # "jobs" is how many run at a time, so the jobs of a workflow file are tasks here.
    key = "tasks" if record.order.noun == "job" else f"{record.order.noun}s"
    return _dump({**_summary(record, exit_code), key: tasks})


def line_of_record(record: Record, exit_code: int) -> str:
    """Return the last line of `--jsonl`: the run as a whole."""
    return _line("ended", _summary(record, exit_code))


def line_of_event(order: Order, event: Event) -> str | None:
    """Return the line of `--jsonl` for an event; None for one that has none."""
    name = {"index": event.index, "name": unicode(order.tasks[event.index].name)}
    match event:
        case Started():
            return _line("started", {**name, "attempt": event.attempt, "pid": event.pid})
        case Retrying():
            failed = _with_output(order, event.index, event.result)
            return _line("retrying", {**failed, "delay_seconds": round(event.delay, 6)})
        case Finished():
            return _line("finished", _with_output(order, event.index, event.result))
        case Printed():
            stream = "stdout" if event.stream == 1 else "stderr"
            return _line("printed", {**name, "stream": stream, "text": event.data.decode("utf-8", "replace")})


def document_of_order(order: Order) -> str:
    """Return one JSON document with what would run. Variables are named, their values kept out."""
    return _dump(
        {
            "dry_run": True,
            "jobs": order.jobs,
            "deadline_seconds": None if order.timeout == math.inf else order.timeout,
            "timeout_of_median": order.limit,
            "fail": order.fail_fast or None,
            "halt": order.halt if order.fail_fast else None,
            f"{order.noun}s": [_terms(task) for task in order.tasks],
        }
    )


def _terms(task: Task) -> dict[str, Any]:
    action = task.action
    program = action if isinstance(action, Program) else None
    limits = task.limits
    return {
        "name": unicode(task.name),
        **_script_of(task),
        "timeout_seconds": limits.seconds,
        "grace_seconds": limits.grace,
        "memory_bytes": limits.memory,
        "retries": task.retry_policy.max_attempts - 1 if task.retry_policy else 0,
        "cwd": None if program is None or program.cwd is None else unicode(program.cwd),
        "variables": sorted(map(unicode, (program.env if program else None) or ())),
        "depends_on": sorted(map(unicode, task.needs())),
    }


def _script_of(task: Task) -> dict[str, Any]:
    action = task.action
    if isinstance(action, Shell):
        return {"command": unicode(action.text)}
    if not isinstance(action, Script):
        return {}
    arguments = [unicode(str(argument)) for argument in action.args]
    return {"script": unicode(action.path), "arguments": arguments}


def _with_output(order: Order, index: int, result: ExecutionResult) -> dict[str, Any]:
    stdout, stderr = (stream.decode("utf-8", "replace") for stream in result.streams)
    document = {**describe(order, index, result), "stdout": stdout, "stderr": stderr}
    if result.tolerated:
        document["tolerated"] = True
    if result.stages:
        document["parts"] = [_part(part) for part in result.stages]
    return document


def _part(result: ExecutionResult) -> dict[str, Any]:
    """Return a command of a stage, or a step of a job."""
    stdout, stderr = (stream.decode("utf-8", "replace") for stream in result.streams)
    part = {
        "name": unicode(result.name),
        "ending": result.ending.value,
        "success": result.success,
        "tolerated": result.tolerated,
        "return_code": result.return_code,
        "reason": reason(result),
        "seconds": round(result.execution_time, 6),
        "stdout": stdout,
        "stderr": stderr,
    }
    return {**part, "parts": [_part(inner) for inner in result.stages]} if result.stages else part


def _summary(record: Record, exit_code: int) -> dict[str, Any]:
    return {
        "success": record.success,
        "exit_code": exit_code,
        "problem": unicode(record.problem or record.ended_early),
        "stopped_by": record.stopped_by.name if record.stopped_by else None,
        "jobs": record.order.jobs,
        "seconds": round(record.seconds, 6),
        "counts": {ending.value: number for ending, number in record.counts().items()},
    }


def _line(event: str, fields: dict[str, Any]) -> str:
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"event": event, "time": time, **fields}) + "\n"


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
