"""What this machine stands in for: the contexts `github` and `runner`, and the variables that go with them."""

from __future__ import annotations

import getpass
import os
import platform
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.config.places import found, mistake
from orchestrator.config.syntax import read_json, read_text
from orchestrator.limits import Limits
from orchestrator.pipelines.actions.expressions import Value, text_of
from orchestrator.pipelines.actions.model import WorkflowFile
from orchestrator.programs import prepared, run_programs, shell_of
from orchestrator.runs import Options

_GIT_SECONDS = 20.0
_REMOTE = re.compile(r"(?:[:/])([^/:]+/[^/]+?)(?:\.git)?/?$")
_ARCHITECTURES = {"x86_64": "X64", "aarch64": "ARM64", "armv7l": "ARM", "i686": "X86"}


@dataclass(frozen=True, slots=True)
class Host:
    """The place where jobs run. `workspace` is the absolute path of the folder that GitHub would check out."""

    workspace: str
    github: Mapping[str, Value]

    def runner(self, temp: str) -> dict[str, Value]:
        """Return the context `runner` of a job that has this folder for temporary files."""
        return {
            "name": platform.node() or "localhost",
            "os": "Linux",
            "arch": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "temp": temp,
            "tool_cache": temp,
            "debug": "",
            "environment": "self-hosted",
        }

    def variables(self, job: str, runner: Mapping[str, Value]) -> dict[str, str]:
        """Return the variables of a job that GitHub sets itself."""
        told = {f"GITHUB_{key.upper()}": text_of(value) for key, value in self.github.items() if key != "event"}
        told |= {f"RUNNER_{key.upper()}": text_of(value) for key, value in runner.items() if key != "debug"}
        return {"CI": "true", "ORCHESTRATOR_CI": "true", **told, "GITHUB_ACTIONS": "true", "GITHUB_JOB": job}


def host_of(file: WorkflowFile, event_name: str = "push", event: Mapping[str, Value] | None = None) -> Host:
    """Return this machine as the host of a workflow file: its repository as git knows it, or empty texts."""
    workspace = workspace_of(file.path)
    ask = {
        "sha": ["rev-parse", "HEAD"],
        "branch": ["symbolic-ref", "--quiet", "--short", "HEAD"],
        "tag": ["describe", "--tags", "--exact-match"],
        "remote": ["config", "--get", "remote.origin.url"],
    }
    options = Options(limits=Limits(_GIT_SECONDS), cwd=workspace)
    lines = [prepared(shell_of(["git", *words], "git")) for words in ask.values()]
    results = run_programs(lines, len(lines), options, 1 << 16)
    known = {name: r.output.strip() if r.success else "" for name, r in zip(ask, results, strict=True)}
    remote = _REMOTE.search(known["remote"])
    repository = remote[1] if remote else f"local/{os.path.basename(workspace)}"
    name = known["branch"] or known["tag"]
    kind = "branch" if known["branch"] or not known["tag"] else "tag"
    folder = "heads" if kind == "branch" else "tags"
    return Host(
        workspace,
        {
            "workflow": file.name,
            "workspace": workspace,
            "repository": repository,
            "repository_owner": repository.partition("/")[0],
            "sha": known["sha"],
            "ref": f"refs/{folder}/{name}" if name else "",
            "ref_name": name,
            "ref_type": kind,
            "ref_protected": False,
            "actor": _user(),
            "triggering_actor": _user(),
            "event_name": event_name,
            "event": dict(event or {}),
            "run_id": str(uuid.uuid4().int % 10**10),
            "run_number": "1",
            "run_attempt": "1",
            "retention_days": "0",
            "server_url": "https://github.com",
            "api_url": "https://api.github.com",
            "graphql_url": "https://api.github.com/graphql",
            "base_ref": "",
            "head_ref": "",
            "action": "",
            "action_path": "",
        },
    )


def workspace_of(path: str) -> str:
    """Return the folder with `.git`, from a file upward; else the one above `.github`, else the present one."""
    folder = os.path.dirname(os.path.abspath(path))
    above = folder
    while True:
        if os.path.lexists(os.path.join(above, ".git")):
            return above
        parent = os.path.dirname(above)
        if parent == above:
            break
        above = parent
    head, tail = os.path.split(folder)
    if tail == "workflows" and os.path.basename(head) == ".github":
        return os.path.dirname(head)
    return os.getcwd()


def read_event(path: str) -> dict[str, Value]:
    """Return the payload of an event from a JSON file. Raises ConfigError for what is no object."""
    value = read_json(read_text(path, path), path)
    if not isinstance(value, dict):
        raise mistake(path, f"the payload of an event is an object, not {found(value)}")
    return value


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id
        return ""
