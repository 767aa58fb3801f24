"""What agents call: plain functions, and, in `serve`, a server of the Model Context Protocol over standard streams.

The functions need nothing but the package. The server needs the extra `mcp`, and nothing here imports it.
"""

from orchestrator.mcp_tools.plain import analyze_workflow_dependencies, get_scheduler_metrics

__all__ = ["analyze_workflow_dependencies", "get_scheduler_metrics"]
