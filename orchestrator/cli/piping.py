"""Run a pipe with our standard streams, and tell what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from orchestrator.cli import codes
from orchestrator.cli.pump import Pump
from orchestrator.cli.record import reason
from orchestrator.cli.signals import StoppedAtOnce
from orchestrator.cli.streams import Outlet, no_standard_output
from orchestrator.cli.wording import neutral, unicode
from orchestrator.pipes import pipe
from orchestrator.results import ExecutionResult
from orchestrator.wording import count


def run_pipe(commands: Sequence[str], *, as_json: bool, **options: Any) -> int:
    """Run the commands, and return the exit code. The keyword options are those of `pipe`."""
    stdin = None if sys.stdin is None or sys.stdin.isatty() else 0
    stopped = StoppedAtOnce(f"a pipe of {count(len(commands), 'command')}")
    with stopped.listening(), Pump(1) as out:
        result = pipe(commands, stdin=stdin, stdout=None if as_json else out.descriptor, **options)
    code = codes.GOOD if result.success else codes.FAILED
    if stopped.received is not None:
        code = 128 + stopped.received
    elif out.reader_left:
        code = codes.READER_LEFT
    elif out.problem is not None:
        code = no_standard_output(out.problem)
    if as_json:
        document = Outlet(sys.stdout)
        document.write(json.dumps(_document(result, code), indent=2) + "\n")
        code = document.exit_code() or code
    err = Outlet(sys.stderr)
    for stage in result.stages:
        text = stage.streams[1].decode("utf-8", "replace")
        err.write(neutral(text) if err.isatty() else text)
    if not result.success and out.problem is None:
        err.write(f"orchestrator: {neutral(result.reason)}")
    return code


def _document(result: ExecutionResult, code: int) -> dict[str, object]:
    stdout, stderr = (stream.decode("utf-8", "replace") for stream in result.streams)
    return {
        "success": result.success,
        "exit_code": code,
        "seconds": round(result.execution_time, 6),
        "stdout": stdout,
        "stderr": stderr,
        "reason": result.reason.rstrip("\n"),
        "commands": [
            {
                "command": unicode(stage.name),
                "ending": stage.ending.value,
                "return_code": stage.return_code,
                "seconds": round(stage.execution_time, 6),
                "cpu_seconds": round(stage.cpu_time, 6),
                "peak_memory_bytes": stage.peak_memory,
                "stderr": stage.streams[1].decode("utf-8", "replace"),
                "reason": reason(stage),
            }
            for stage in result.stages
        ],
    }
