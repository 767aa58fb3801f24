"""Pipelines: stages of shell commands, and CI workflow files, run on this machine.

`model` says what a pipeline is, `stage` runs one stage, `flow` makes a workflow of them all, `bridge` is what other
systems call. `files` reads pipelines from files; `actions` is for those of GitHub Actions.
"""

from orchestrator.pipelines.bridge import CICDBridge, OrchestratorBridge, run_ci_stage
from orchestrator.pipelines.flow import create_pipeline_workflow
from orchestrator.pipelines.loading import load_pipeline
from orchestrator.pipelines.model import PipelineConfig, StageConfig

__all__ = [
    "CICDBridge",
    "OrchestratorBridge",
    "PipelineConfig",
    "StageConfig",
    "create_pipeline_workflow",
    "load_pipeline",
    "run_ci_stage",
]
