"""Bridges: run a pipeline, or one stage, and get what came of each. For programs that drive, or stand in for, a CI."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator import settings
from orchestrator.dag.workflow import Workflow
from orchestrator.events import Event, Finished, Listener
from orchestrator.exceptions import OrchestratorTimeoutError
from orchestrator.limits import check_env
from orchestrator.pipelines.flow import create_pipeline_workflow
from orchestrator.pipelines.model import PipelineConfig, StageConfig
from orchestrator.pipelines.report import fold, report
from orchestrator.reports.system import read_ci
from orchestrator.results import ExecutionResult
from orchestrator.stopping import outside_of_a_loop

_log = logging.getLogger(__name__)


class OrchestratorBridge:
    """Run pipelines for another system.

    Parameters: `max_workers`, stages at a time (None: all that may run at once); `env`, variables for all stages,
    below what pipeline and stage say; `cwd`, the directory of pipelines that name none (None: the present one);
    `artifacts`, a folder that artifacts are copied to (None: they stay where they are); `on_event`, a listener (see
    `orchestrator.events`), which with `live_output` also hears what commands write; called in the thread that runs the
    stages' event loop.

    Raises TypeError or ValueError at once for what makes no sense.
    """

    def __init__(
        self,
        *,
        max_workers: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        artifacts: str | os.PathLike[str] | None = None,
        on_event: Listener | None = None,
        live_output: bool = False,
    ) -> None:
        if max_workers is not None:
            settings.check_workers(max_workers)
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event must be callable, not {on_event!r}")
        self._env = dict(check_env(env) or {})
        self._cwd = cwd
        self._artifacts = artifacts
        self._options: dict[str, Any] = {"live_output": live_output}
        if max_workers is not None:
            self._options["max_concurrency"] = max_workers
        self._listener = on_event
        self._flows: list[Workflow] = []

    def run_pipeline(self, config: PipelineConfig) -> list[ExecutionResult]:
        """Run a pipeline to its end and return a result for each stage, in the order of the stages.

        A stage that fails is a result; those that wait for it are SKIPPED and say because of which. Of a stage's result
        `stages` are the commands that were run. Blocks, also where an event loop runs (await it in a thread there).
        When the pipeline's own time limit passes, what runs is CANCELLED, and the rest SKIPPED.

        Raises TypeError for what is no PipelineConfig, KeyboardInterrupt once everything has stopped.
        """
        if not isinstance(config, PipelineConfig):
            raise TypeError(f"a pipeline must be a PipelineConfig, not {config!r:.200}")
        whole = replace(config, env={**self._env, **config.env}, cwd=config.cwd or self._cwd)
        flow = create_pipeline_workflow(whole, artifacts=self._artifacts, **self._options)
        results: dict[int, ExecutionResult] = {}

        def hear(event: Event) -> None:
            if isinstance(event, Finished):
                results[event.index] = event.result
            self.heard(event)

        flow.add_listener(hear)
        if self._listener is not None:
            flow.add_listener(self._listener)
        self._flows.append(flow)
        try:
            outside_of_a_loop(flow.run)
        except OrchestratorTimeoutError:
            pass  # every stage has its result all the same, which says so
        finally:
            self._flows.remove(flow)
        return [results[index] for index in range(len(config.stages))]

    def heard(self, event: Event) -> None:
        """Hear what happens, before the listener does: for bridges that tell it on."""

    def cancel(self) -> None:
        """Stop the pipelines under way; `run_pipeline` then returns. Safe in any thread and in a signal handler."""
        for flow in tuple(self._flows):
            flow.cancel()


class CICDBridge(OrchestratorBridge):
    """Run pipelines and stages as a CI system does, and inside of one tell it what came of them.

    `ci` is the system, as the command line's option of this name has it: "auto", the one of the environment (outside
    of any: none), "github", "gitlab", "jenkins" or "off", and after commas what it is not told: "auto,-summary".
    GitHub and GitLab get a fold for each stage on standard output, GitHub also annotations and the summary of the
    step; GitLab and Jenkins the JUnit report, as `junit` names it (None: `orchestrator-junit.xml`), which others get
    if it is named. The other parameters are those of OrchestratorBridge.

    Raises ValueError for a system that it does not know.

    >>> CICDBridge(ci="off").run_ci_stage(StageConfig("greet", ["echo hello", "echo world"])).output
    'hello\\nworld\\n'
    """

    def __init__(self, *, ci: str = "auto", junit: str | os.PathLike[str] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._ci = read_ci(ci)
        self._junit = junit

    def run_pipeline(self, config: PipelineConfig) -> list[ExecutionResult]:
        """Do as OrchestratorBridge does, and tell the CI system; what cannot be written is logged, no more."""
        start = time.monotonic()
        results = super().run_pipeline(config)
        _say(report(self._ci, self._junit, results, time.monotonic() - start))
        return results

    def heard(self, event: Event) -> None:
        """Print the fold of a stage that has ended."""
        if isinstance(event, Finished):
            _say(fold(self._ci, event.result))

    def run_ci_stage(self, stage: StageConfig) -> ExecutionResult:
        """Run one stage, with its attempts, and return what came of it; whatever it depends on is left aside.

        Its condition is asked as if it were the first. Raises TypeError for what is no StageConfig.
        """
        if not isinstance(stage, StageConfig):
            raise TypeError(f"a stage must be a StageConfig, not {stage!r:.200}")
        return self.run_pipeline(PipelineConfig([replace(stage, depends_on=None)], name=stage.name))[0]


def run_ci_stage(stage: StageConfig) -> ExecutionResult:
    """Run one stage in the present directory and return what came of it, as `CICDBridge.run_ci_stage` does."""
    return CICDBridge().run_ci_stage(stage)


def _say(text: str) -> None:
    """Print to standard output, whatever its encoding; one that takes nothing is logged."""
    try:
        encoding = sys.stdout.encoding or "ascii"
        print(text.encode(encoding, "backslashreplace").decode(encoding), end="", flush=True)
    except (OSError, ValueError, AttributeError) as error:  # a full disk; it was closed; there is none
        _log.warning("standard output takes no report: %s", error)
