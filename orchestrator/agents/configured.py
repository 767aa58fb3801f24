"""Agents of the config: the tables `[agents.NAME]`, checked by `orchestrator.config.schema`, as agents."""

from __future__ import annotations

from orchestrator.agents.agent import Agent, terms_of
from orchestrator.config import Config
from orchestrator.exceptions import ConfigError
from orchestrator.limits import GRACE_SECONDS
from orchestrator.python_files import PythonFiles


def configured_agent(name: str, config: Config, files: PythonFiles) -> Agent:
    """Return an agent that the config has, by its name.

    Raises ConfigError for one in a Python file that cannot be loaded or is no agent.
    """
    table = config.values["agents"][name]
    terms = terms_of(
        name,
        limits=(table.get("timeout"), table.get("memory"), GRACE_SECONDS),
        retries=(table.get("retries", 0), None),
        concurrency=table.get("concurrency"),
        env=table.get("env"),
        cwd=table.get("cwd"),
        description=table.get("description", ""),
    )
    try:
        agent = table["command"] if "command" in table else files.value(table["python"])
        return Agent(name, agent, terms)
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{table.get('python', 'the config')}: {error}") from error
