"""What a workflow file may say, and what becomes of it: one table of keys, and what an expression sees under each.

`reading` decides by these tables, and the docs' table is tested against the first. Keys are GitHub's workflow syntax
of 2025; which context is available where is GitHub's "Context availability" table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from orchestrator.config.places import hint

Verdict = Literal["supported", "no-op", "skipped", "refused"]

KEYS: Mapping[str, tuple[Verdict, str]] = {
    "name": ("supported", "the workflow's name; without it, its path"),
    "description": ("no-op", "read, not shown"),
    "run-name": ("no-op", "a run here has no name of its own"),
    "on": ("no-op", "any event is read; a run starts when it is asked for, not by an event"),
    "permissions": ("no-op", "no token of GitHub's is given to a run here"),
    "env": ("supported", "variables of all steps; a job's win over these, a step's over both"),
    "defaults": ("supported", "a table with `run`"),
    "defaults.run": ("supported", "for the `run` steps that do not say it themselves"),
    "defaults.run.shell": ("supported", "as a step's `shell`"),
    "defaults.run.working-directory": ("supported", "as a step's `working-directory`"),
    "concurrency": ("supported", "text, or a table: of a group's runs one runs at a time"),
    "concurrency.group": ("supported", "the name of the group"),
    "concurrency.cancel-in-progress": ("supported", "whether the run that is running is stopped for the new one"),
    "concurrency.queue": ("no-op", "one waits at most: a newer one takes its place"),
    "jobs": ("supported", "the jobs by their ids, one at least"),
    "jobs.<id>.name": ("supported", "what the job is called; without it, its id"),
    "jobs.<id>.needs": ("supported", "the jobs that come before: one id or a list"),
    "jobs.<id>.if": ("supported", "whether it is run; without it, when all that it needs has succeeded"),
    "jobs.<id>.permissions": ("no-op", "no token of GitHub's is given to a run here"),
    "jobs.<id>.environment": (
        "no-op",
        "an environment's rules, variables and secrets are kept by GitHub, and not here",
    ),
    "jobs.<id>.environment.name": ("no-op", "shown in the note"),
    "jobs.<id>.environment.url": ("no-op", "shown on GitHub only"),
    "jobs.<id>.environment.deployment": ("no-op", "nothing is recorded as a deployment here"),
    "jobs.<id>.env": ("supported", "variables of the job's steps"),
    "jobs.<id>.defaults": ("supported", "as the workflow's, which it completes"),
    "jobs.<id>.defaults.run": ("supported", "as the workflow's"),
    "jobs.<id>.defaults.run.shell": ("supported", "as a step's `shell`"),
    "jobs.<id>.defaults.run.working-directory": ("supported", "as a step's `working-directory`"),
    "jobs.<id>.runs-on": ("supported", "labels; the job runs on this machine, if that is what they name"),
    "jobs.<id>.runs-on.labels": ("supported", "one label or a list"),
    "jobs.<id>.runs-on.group": ("no-op", "there are no groups of runners here"),
    "jobs.<id>.strategy": ("supported", "a table with `matrix` and how its jobs are run"),
    "jobs.<id>.strategy.matrix": ("supported", "a table, or an expression that gives one; 256 jobs at most"),
    "jobs.<id>.strategy.matrix.<axis>": ("supported", "a list of values, or an expression that gives one"),
    "jobs.<id>.strategy.matrix.include": ("supported", "adds to combinations, or adds combinations"),
    "jobs.<id>.strategy.matrix.exclude": ("supported", "takes combinations of the axes away"),
    "jobs.<id>.strategy.fail-fast": ("supported", "whether the first failure cancels the others; true without it"),
    "jobs.<id>.strategy.max-parallel": ("supported", "how many of its jobs run at a time"),
    "jobs.<id>.timeout-minutes": ("supported", "after which the job is stopped"),
    "jobs.<id>.cancel-timeout-minutes": ("no-op", "what is stopped here gets the grace that the run was given"),
    "jobs.<id>.continue-on-error": ("supported", "whether the run succeeds though the job fails"),
    "jobs.<id>.outputs": ("supported", "values for the jobs that need this one"),
    "jobs.<id>.concurrency": ("supported", "as the workflow's, for one job"),
    "jobs.<id>.concurrency.group": ("supported", "the name of the group"),
    "jobs.<id>.concurrency.cancel-in-progress": ("supported", "as the workflow's"),
    "jobs.<id>.concurrency.queue": ("no-op", "one waits at most: a newer one takes its place"),
    "jobs.<id>.uses": ("refused", "a reusable workflow is not called here: run its file by itself"),
    "jobs.<id>.container": ("refused", "jobs run on this machine, never in a container"),
    "jobs.<id>.services": ("refused", "service containers are not started here"),
    "jobs.<id>.snapshot": ("refused", "no image is made of this machine"),
    "jobs.<id>.with": ("refused", "belongs to a reusable workflow, which is not called here"),
    "jobs.<id>.secrets": ("refused", "there are no secrets here"),
    "jobs.<id>.steps": ("supported", "what the job does, in order"),
    "jobs.<id>.steps[*].id": ("supported", "the name by which `steps` knows it"),
    "jobs.<id>.steps[*].name": ("supported", "what the step is called; without it, its first line"),
    "jobs.<id>.steps[*].if": ("supported", "whether it is run; without it, when nothing before it has failed"),
    "jobs.<id>.steps[*].run": ("supported", "a script"),
    "jobs.<id>.steps[*].shell": ("supported", "bash, sh, python, or a command with {0}; pwsh, powershell, cmd refused"),
    "jobs.<id>.steps[*].working-directory": ("supported", "where the script runs"),
    "jobs.<id>.steps[*].env": ("supported", "variables of the step"),
    "jobs.<id>.steps[*].continue-on-error": ("supported", "whether the job goes on though the step fails"),
    "jobs.<id>.steps[*].timeout-minutes": ("supported", "after which the step is stopped"),
    "jobs.<id>.steps[*].uses": ("skipped", "actions are not run here; actions/checkout of the present tree is a no-op"),
    "jobs.<id>.steps[*].with": ("skipped", "belongs to an action, which is not run here"),
    "jobs.<id>.steps[*].background": ("refused", "a step here ends before the next one starts"),
    "jobs.<id>.steps[*].wait": ("refused", "no step is run in the background here"),
    "jobs.<id>.steps[*].wait-all": ("refused", "no step is run in the background here"),
    "jobs.<id>.steps[*].cancel": ("refused", "no step is run in the background here"),
}
"""Each key: what becomes of it, and a sentence about it."""

SECRETS_REFUSED = "uses secrets, or GitHub's token, which are not here; give the value in `env`, or leave it out"

_STATUS = frozenset({"success", "failure", "always", "cancelled"})
_ANYWHERE = frozenset({"github", "inputs", "vars"})
_NEEDS = _ANYWHERE | {"needs"}
_JOB = _NEEDS | {"strategy", "matrix"}
_STEP = _JOB | {"steps", "job", "runner", "env"}
_HASH = frozenset({"hashfiles"})
_NONE = frozenset[str]()

_SEEN: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "run-name": (_ANYWHERE, _NONE),
    "env": (_ANYWHERE | {"secrets"}, _NONE),
    "concurrency": (_ANYWHERE, _NONE),
    "jobs.<id>.if": (_NEEDS, _STATUS),
    "jobs.<id>.strategy": (_NEEDS, _NONE),
    "jobs.<id>.name": (_JOB, _NONE),
    "jobs.<id>.runs-on": (_JOB, _NONE),
    "jobs.<id>.timeout-minutes": (_JOB, _NONE),
    "jobs.<id>.continue-on-error": (_JOB, _NONE),
    "jobs.<id>.concurrency": (_JOB, _NONE),
    "jobs.<id>.environment": (_JOB, _NONE),
    "jobs.<id>.environment.url": (_STEP, _NONE),
    "jobs.<id>.env": (_JOB | {"secrets"}, _NONE),
    "jobs.<id>.defaults.run": (_JOB | {"env"}, _NONE),
    "jobs.<id>.outputs": (_STEP | {"secrets"}, _NONE),
    "jobs.<id>.steps[*].if": (_STEP, _STATUS | _HASH),
    **{
        f"jobs.<id>.steps[*].{name}": (_STEP | {"secrets"}, _HASH)
        for name in ("name", "run", "working-directory", "env", "continue-on-error", "timeout-minutes", "with")
    },
}
"""What holds for a key and those below it: the contexts, and the functions that are not everywhere."""

CONTEXTS = _STEP | {"secrets", "jobs"}

SHELLS = ("bash", "sh", "python")
REFUSED_SHELLS = ("pwsh", "powershell", "cmd")


def below(table: str) -> dict[str, Verdict]:
    """Return the keys that a table knows, with their verdicts; "" is the whole file.

    >>> below("concurrency")
    {'group': 'supported', 'cancel-in-progress': 'supported', 'queue': 'no-op'}
    """
    start = f"{table}." if table else ""
    names = {key.removeprefix(start): verdict for key, (verdict, _) in KEYS.items() if key.startswith(start)}
    return {name: verdict for name, verdict in names.items() if "." not in name and "<" not in name}


def unavailable(key: str, contexts: frozenset[str], functions: frozenset[str]) -> str | None:
    """Say what an expression under a key uses that is not there, None when all of it is.

    >>> unavailable("jobs.<id>.if", frozenset({"matrix"}), frozenset())
    '`matrix` is not available here. Known here: github, inputs, needs, vars'
    """
    seen, callable_here = _seen(key)
    for context in sorted(contexts - seen):
        known = "not available here" if context in CONTEXTS else "no context"
        return f"`{context}` is {known}{hint(context, seen)}"
    for function in sorted((functions & (_STATUS | _HASH)) - callable_here):
        places = ", ".join(f"`{key}`" for key, (_, functions) in _SEEN.items() if function in functions)
        return f"{function}() may not be called here, only under {places}"
    return None


def allows_expressions(key: str) -> bool:
    """Say whether an expression may stand under a key.

    >>> allows_expressions("jobs.<id>.steps[*].run"), allows_expressions("jobs.<id>.steps[*].shell")
    (True, False)
    """
    return bool(_seen(key)[0])


def _seen(key: str) -> tuple[frozenset[str], frozenset[str]]:
    parts = key.split(".")
    ways = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((_SEEN[way] for way in ways if way in _SEEN), (_NONE, _NONE))


def shell_verdict(shell: str) -> Literal["supported", "refused", "unknown"]:
    """Say whether a shell can be used: a known one, or a command with {0} for the script's path.

    >>> [shell_verdict(shell) for shell in ("bash", "perl {0}", "pwsh", "fish")]
    ['supported', 'supported', 'refused', 'unknown']
    """
    first = shell.split(maxsplit=1)[0].lower() if shell.strip() else ""
    if first in REFUSED_SHELLS:
        return "refused"
    return "supported" if shell in SHELLS or "{0}" in shell else "unknown"
