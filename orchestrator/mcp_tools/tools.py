"""Tools: what the server does for one client. Arguments come checked against their schemas; answers are values.

Whatever reads files happens in a thread, so that the event loop serves others meanwhile.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.config import Config, read_config, script_config
from orchestrator.dag.workflow import Workflow
from orchestrator.discovery import find_scripts
from orchestrator.exceptions import ConfigError
from orchestrator.limits import Limits
from orchestrator.mcp_tools import answers, arguments
from orchestrator.mcp_tools.batch import Asked, tasks_of
from orchestrator.mcp_tools.ceilings import Ceilings
from orchestrator.mcp_tools.pages import as_text, page_of
from orchestrator.mcp_tools.pipeline import execute_in_turn, read_pipeline
from orchestrator.mcp_tools.plain import analyze_workflow_dependencies, get_scheduler_metrics
from orchestrator.mcp_tools.refusals import Refused
from orchestrator.mcp_tools.root import Root
from orchestrator.mcp_tools.runs import Execute, Row, Run
from orchestrator.mcp_tools.shelf import Shelf, output_limit
from orchestrator.pool.pool import Pool
from orchestrator.wording import visible


class Tools:
    """The tools, with the runs and the pool of one client. Close it: that stops all that runs."""

    def __init__(self, root: Root, ceilings: Ceilings) -> None:
        self._root = root
        self._ceilings = ceilings
        self._shelf = Shelf(ceilings.runs)
        self._pool = Pool(ceilings.jobs)

    async def close(self) -> None:
        """Stop every run; no process of theirs is left."""
        await self._shelf.close()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True, kill=True)

    async def get_scheduler_metrics(self, _: arguments.NoArguments) -> answers.Metrics:
        """Return what the schedulers of this process do."""
        return answers.Metrics(**dataclasses.asdict(get_scheduler_metrics()))

    async def analyze_workflow_dependencies(self, asked: arguments.AnalyzeArguments) -> answers.Analysis:
        """Return an order of tasks. Raises what the plain function does for a graph that has none."""
        tasks = [node.model_dump() for node in asked.tasks]
        return answers.Analysis(**await asyncio.to_thread(analyze_workflow_dependencies, tasks))

    async def discover_scripts(self, asked: arguments.DiscoverArguments) -> answers.Scripts:
        """Return a page of the scripts below a folder."""
        return await asyncio.to_thread(self._discover, asked)

    async def start_batch(self, asked: arguments.BatchArguments) -> answers.Begun:
        """Begin to run scripts."""
        ceilings = self._ceilings
        terms = Asked(
            args=tuple(asked.args),
            seconds=ceilings.seconds_for(asked.timeout_seconds),
            memory=ceilings.memory_for(asked.memory),
            retries=asked.retries,
            cwd=None if asked.cwd is None else self._folder(asked.cwd, "cwd"),
            output_limit=output_limit(len(asked.scripts)),
        )
        jobs = ceilings.jobs_for(asked.jobs)
        scripts = [[script] if isinstance(script, str) else script for script in asked.scripts]
        tasks = await asyncio.to_thread(tasks_of, scripts, terms, self._root, ceilings)
        flow = Workflow(
            "batch",
            tasks=tasks,
            # Not all in the pool's queue at once: another run's tasks come in between.
            max_concurrency=jobs,
            executor=self._pool,
            fail_fast=asked.fail_fast,
            live_output=True,
        )
        return self._begin("batch", flow)

    async def run_pipeline(self, asked: arguments.PipelineArguments) -> answers.Begun:
        """Begin to run a pipeline."""
        path = self._root.inside(asked.path, "path")
        if not os.path.isfile(path):
            raise Refused(f"path: there is no file {visible(asked.path)} below the root {visible(self._root.path)}")
        ceilings = self._ceilings
        limits = Limits(ceilings.seconds, ceilings.memory)
        pipeline, flow = await asyncio.to_thread(read_pipeline, path, ceilings.jobs_for(asked.jobs), limits)
        return self._begin("pipeline", flow, lambda: execute_in_turn(pipeline, flow), pipeline.warnings)

    async def get_run(self, asked: arguments.RunArguments) -> answers.RunReport:
        """Return how a run stands, and a page of its tasks."""
        run = self._shelf.find(asked.run_id)
        if asked.wait_seconds:
            await run.over(asked.wait_seconds)
        rows, following = _page(run.select(asked.which), asked.offset, asked.limit)
        return answers.RunReport(
            run_id=run.id,
            name=as_text(run.name),
            state=run.state,
            problem=run.problem,
            seconds=run.seconds,
            total=len(run.rows),
            counts=run.counts(),
            tasks=[_report(run, row) for row in rows],
            next_offset=following,
        )

    async def cancel_run(self, asked: arguments.CancelArguments) -> answers.Cancelled:
        """Stop a run, and answer when nothing of it is left."""
        run = self._shelf.find(asked.run_id)
        run.stop()
        await run.over()
        return answers.Cancelled(run_id=run.id, state=run.state, counts=run.counts())

    async def get_output(self, asked: arguments.OutputArguments) -> answers.Output:
        """Return a page of what a task has written."""
        run = self._shelf.find(asked.run_id)
        if asked.task >= len(run.rows):
            raise Refused(f"task: run {run.id} has no task {asked.task}; its tasks are 0 to {len(run.rows) - 1}")
        row = run.rows[asked.task]
        data = bytes(row.streams[0 if asked.stream == "stdout" else 1])
        page = page_of(data, asked.offset, asked.limit)
        return answers.Output(
            run_id=run.id,
            task=row.index,
            stream=asked.stream,
            text=page.text,
            offset=page.offset,
            next_offset=page.next_offset,
            total=len(data),
            complete=row.state == "ended",
        )

    def _begin(
        self, kind: str, flow: Workflow, execute: Execute | None = None, warnings: Sequence[str] = ()
    ) -> answers.Begun:
        flow.validate()  # a circle is told to whoever asks, not found in the run's end
        run = self._shelf.begin(kind, flow, execute)
        return answers.Begun(
            run_id=run.id, tasks=len(run.rows), output_limit=run.output_limit, warnings=[*map(as_text, warnings)]
        )

    def _folder(self, path: str, what: str) -> str:
        folder = self._root.inside(path, what)
        if not os.path.isdir(folder):
            raise Refused(f"{what}: there is no folder {visible(path)} below the root {visible(self._root.path)}")
        return folder

    def _discover(self, asked: arguments.DiscoverArguments) -> answers.Scripts:
        folder = self._folder(asked.folder, "folder")
        config = read_config()
        wanted = config.values["discovery"]
        # A link is listed as what it leads to, which may lie elsewhere.
        paths = [path for path in find_scripts(folder, wanted["include"], wanted["exclude"]) if self._root.holds(path)]
        chosen, following = _page(paths, asked.offset, asked.limit)
        return answers.Scripts(
            folder=self._root.shown(folder),
            total=len(paths),
            scripts=[self._found(path, config) for path in chosen],
            next_offset=following,
        )

    def _found(self, path: str, config: Config) -> answers.FoundScript:
        shown = as_text(os.path.relpath(path, self._root.path))
        try:
            terms = script_config(path, config)
        except ConfigError as error:
            return answers.FoundScript(path=shown, problem=as_text(str(error)))
        return answers.FoundScript(
            path=shown,
            description=as_text(terms["description"]),
            timeout_seconds=terms["timeout"],
            memory_bytes=terms["memory"],
            retries=terms["retries"],
            depends_on=[
                self._root.shown(need) if os.path.isabs(need) else as_text(need) for need in terms["depends_on"]
            ],
            args=[as_text(argument) for argument in terms["args"]],
            variables=sorted(map(as_text, terms["env"])),  # their values are not for the agent
        )


def _page(things: Iterable[Any], offset: int, limit: int) -> tuple[list[Any], int | None]:
    """Return some of the things, and where the next ones begin, None if there are none."""
    chosen = list(itertools.islice(things, offset, offset + limit + 1))
    return chosen[:limit], offset + limit if len(chosen) > limit else None


def _report(run: Run, row: Row) -> answers.TaskReport:
    return answers.TaskReport(
        task=row.index,
        name=row.name,
        state=row.state,
        attempts=row.attempts,
        ending=row.ending.value if row.ending else None,
        return_code=row.return_code,
        seconds=run.seconds_of(row),
        cpu_seconds=row.cpu_seconds,
        peak_memory_bytes=row.peak_memory,
        stdout_bytes=len(row.streams[0]),
        stderr_bytes=len(row.streams[1]),
        reason=row.reason,
    )
