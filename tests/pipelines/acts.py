"""Workflow files for these tests, and how they are run: in process, each job's result by the name of its task."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator import Event, ExecutionResult, Finished
from orchestrator.pipelines.loading import Pipeline, load_pipeline


def write(folder: Path, text: str, name: str = ".github/workflows/ci.yml") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def results_of(pipeline: Pipeline, **options: Any) -> dict[str, ExecutionResult]:
    """Run a pipeline and return its results by name, in order."""
    found: dict[str, ExecutionResult] = {}

    def hear(event: Event) -> None:
        if isinstance(event, Finished):
            found[event.name] = event.result

    flow = pipeline.workflow(on_event=hear, **options)
    flow.run()
    return {name: found[name] for name in flow.tasks}


def ran(folder: Path, jobs: str, top: str = "", **options: Any) -> dict[str, ExecutionResult]:
    """Run the jobs, which stand below `jobs:`, of a workflow file in a folder that is its workspace."""
    text = f"on: push\n{textwrap.dedent(top)}jobs:\n{textwrap.indent(textwrap.dedent(jobs), '  ')}"
    return results_of(load_pipeline(write(folder, text)), **options)


def steps_of(result: ExecutionResult) -> dict[str, str]:
    """Return how each step ended, by its name."""
    return {step.name: step.ending.value for step in result.stages}


def endings(results: Mapping[str, ExecutionResult]) -> dict[str, str]:
    """Return how each job or stage ended."""
    return {name: result.ending.value for name, result in results.items()}
