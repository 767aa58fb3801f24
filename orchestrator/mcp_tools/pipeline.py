"""A pipeline's file as something to run: read in a thread, and executed when its turn has come."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from orchestrator.dag.workflow import Workflow
from orchestrator.limits import Limits

if TYPE_CHECKING:
    from orchestrator.pipelines.loading import Pipeline


def read_pipeline(path: str, jobs: int, limits: Limits) -> tuple[Pipeline, Workflow]:
    """Return a pipeline and its workflow, of which so many tasks run at a time, each within the limits.

    Raises ConfigError for a mistake in the file, CycleError for a circle in it.
    """
    from orchestrator.pipelines.loading import load_pipeline  # late: most clients run scripts only

    # As a client names it: what has no name of its own is called by its path, and so are the places of mistakes.
    pipeline = load_pipeline(os.path.relpath(path))
    return pipeline, pipeline.workflow(limits=limits, max_concurrency=jobs, live_output=True)


async def execute_in_turn(pipeline: Pipeline, flow: Workflow) -> None:
    """Execute a pipeline's workflow once nothing else of its concurrency group is under way.

    Raises what its turn and `Workflow.execute` do. Cancelled, it stops all of it first, or waits no more.
    """
    with contextlib.ExitStack() as turn:
        coming = asyncio.ensure_future(asyncio.to_thread(turn.enter_context, pipeline.turn()))
        try:
            await asyncio.shield(coming)
        except asyncio.CancelledError:
            pipeline.cancellation.request()  # it looks again and again whether it is to wait
            await asyncio.wait([coming])
            coming.exception()  # that it was cancelled, which is known here
            raise
        await flow.execute()
