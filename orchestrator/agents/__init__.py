"""Agents: tools, functions and objects that get a task as text, on terms that hold for each run.

`AgentOrchestrator` keeps and runs them; `run_agent_task` runs one of the nearest config.
"""

from orchestrator.agents.registry import AgentOrchestrator, run_agent_task

__all__ = ["AgentOrchestrator", "run_agent_task"]
