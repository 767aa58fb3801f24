"""InWorker: a function that is called in a worker process, where it can be stopped. What `python_func` makes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.limits import GRACE_SECONDS, Limits, tighter
from orchestrator.parallel_runner import run_parallel


class InWorker:
    """A function that is called in a worker process, within limits."""

    def __init__(self, func: Callable[..., Any], limits: Limits) -> None:
        functools.update_wrapper(self, func, updated=())
        self.func = func
        self.limits = limits

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it, and return its value or raise what it raised."""
        seconds, memory, grace = self.limits.seconds, self.limits.memory, self.limits.grace
        call = functools.partial(self.func, *args, **kwargs)
        (result,) = run_parallel([call], timeout=seconds, memory_limit=memory, grace=grace)
        for data, stream in zip(result.streams, (sys.stdout, sys.stderr), strict=True):
            if data and stream is not None:
                text = data.decode("utf-8", "replace")
                encoding = stream.encoding or "utf-8"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return result.unwrap()

    def as_step(self, options: Mapping[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
        """Return the function and the options of a Task that mean the same, within the tighter limits of both."""
        own = Limits(options.get("timeout"), options.get("memory_limit"), options.get("grace", GRACE_SECONDS))
        limits = tighter(self.limits, own)
        terms = {"timeout": limits.seconds, "memory_limit": limits.memory, "grace": limits.grace}
        return self.func, {"executor": "process", **options, **terms}
