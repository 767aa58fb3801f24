"""Workflows for the tests of reading: written from the part that matters, and read as the file `ci.yml`."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from orchestrator.pipelines.actions.model import WorkflowFile
from orchestrator.pipelines.actions.reading import read_workflow


def read(text: str) -> WorkflowFile:
    """Read a text as the workflow `ci.yml` of a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("ci.yml").write_text(text, encoding="utf-8")
        return read_workflow("ci.yml")


def with_job(job: str, before: str = "on: push\n") -> str:
    """A workflow with one job, whose keys begin in line 4."""
    return f"{before}jobs:\n  build:\n" + "".join(f"    {line}\n" for line in job.splitlines())


def with_step(step: str, job: str = "runs-on: x") -> str:
    """A workflow with one step, which begins in line 6."""
    lines = step.splitlines()
    return with_job("\n".join([job, "steps:", f"  - {lines[0]}", *(f"    {line}" for line in lines[1:])]))


def job_line(name: str, more: str) -> str:
    return f"  {name}: {{runs-on: x, steps: [run: x], {more}}}\n"
