"""What a pipeline is made of: stages in order, some of them side by side. Values, checked when they are made."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.dag.plan import Plan
from orchestrator.exceptions import PipelineError
from orchestrator.limits import GRACE_SECONDS, Limits, check_env, check_seconds
from orchestrator.pipelines.actions.expressions import Expression, ExpressionError, parse_condition
from orchestrator.results import ExecutionResult

Condition = str | Callable[[dict[str, ExecutionResult]], bool]
"""An expression such as "failure()", or a function of the results of the stages before."""

_CONTEXTS = frozenset({"env", "stages"})


@dataclass
class StageConfig:
    """Commands that run one after another, up to the first that fails, in an environment and within one time limit.

    Parameters: `name`, unique in its pipeline; `commands`, lines for `/bin/sh`, each a process of its own, so that
    what one does to its own directory or variables is gone with it; `env`, variables on top of the present ones;
    `timeout`, seconds for all commands together (None: no limit), after which the process tree is stopped;
    `retry_on_failure`, whether a failed stage is run once more; `depends_on`, the stages whose end it waits for (None:
    those before it; empty: none); `cwd`, its directory (None: the pipeline's); `allow_failure`, whether the pipeline
    goes on, and well, when it fails; `retries`, how often a failed stage is run again, at once (None: as
    `retry_on_failure` says); `condition`, an expression (as in GitHub's `if`: `success()`, the default, `failure()`,
    `always()`, `cancelled()`, `env.NAME`, `stages.NAME.result`) or a callable that gets the results of the stages
    that have run, by name, and says whether this one does; `artifacts`, patterns of the files that it makes, relative
    to its directory: one that matches nothing makes the stage fail; `memory_limit`, bytes for the process tree, or text
    such as "2G"; `grace`, seconds between being asked to stop and being killed.

    Raises TypeError or ValueError at once for what makes no sense; PipelineError, which is a ValueError, for commands
    that are empty and a condition that does not parse.
    """

    name: str
    commands: list[str]
    env: dict[str, str] = field(default_factory=dict)
    timeout: float | None = None
    retry_on_failure: bool = False
    depends_on: list[str] | None = None
    cwd: str | os.PathLike[str] | None = None
    allow_failure: bool = False
    retries: int | None = None
    condition: Condition | None = None
    artifacts: list[str] = field(default_factory=list)
    memory_limit: int | str | None = None
    grace: float = GRACE_SECONDS

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise TypeError(f"a stage's name must be text that is not empty, not {self.name!r}")
        self.commands = _texts(self.commands, f"{self}: commands", "a list of shell lines")
        if not self.commands:
            raise PipelineError(f"{self} has no commands: give it at least one")
        for number, command in enumerate(self.commands, 1):
            if not command.strip() or "\0" in command:
                what = "holds a NUL" if "\0" in command else "is empty"
                raise PipelineError(f"{self}: command {number} of {len(self.commands)} {what}: {command[:80]!r}")
        try:
            self.env = dict(check_env(self.env) or {})
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self}: {error}") from None
        for name, value in (("retry_on_failure", self.retry_on_failure), ("allow_failure", self.allow_failure)):
            if not isinstance(value, bool):
                raise TypeError(f"{self}: {name} must be True or False, not {value!r}")
        if self.depends_on is not None:
            self.depends_on = _texts(self.depends_on, f"{self}: depends_on", "a list of names")
        if self.retries is not None and (isinstance(self.retries, bool) or not isinstance(self.retries, int)):
            raise TypeError(f"{self}: retries must be a whole number or None, not {self.retries!r}")
        if self.retries is not None and self.retries < 0:
            raise ValueError(f"{self}: retries must be zero or more, not {self.retries}")
        self.artifacts = _texts(self.artifacts, f"{self}: artifacts", "a list of patterns")
        for pattern in self.artifacts:
            if not pattern or os.path.isabs(pattern) or ".." in pattern.split("/"):
                raise PipelineError(f"{self}: the artifact {pattern!r} must be a path below the stage's directory")
        self._check_terms()

    def _check_terms(self) -> None:
        try:
            check_seconds(self.timeout, "timeout")
            _ = self.limits
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self}: {error}") from None
        if self.condition is None or callable(self.condition):
            return
        if not isinstance(self.condition, str):
            raise TypeError(f"{self}: the condition must be an expression or a callable, not {self.condition!r}")
        _ = self.expression

    def __str__(self) -> str:
        return f"stage {self.name!r}"

    @property
    def limits(self) -> Limits:
        """What each attempt may use."""
        return Limits(self.timeout, self.memory_limit, self.grace)

    @property
    def attempts(self) -> int:
        """How often it is run at most."""
        return 1 + (int(self.retry_on_failure) if self.retries is None else self.retries)

    @property
    def expression(self) -> Expression:
        """The condition, where it is none that Python decides. Raises PipelineError for one that does not parse."""
        text = self.condition if isinstance(self.condition, str) else ""
        try:
            expression = parse_condition(text)
        except ExpressionError as error:
            raise PipelineError(f"{self}: condition: {error}") from None
        for what in sorted(expression.contexts - _CONTEXTS):
            raise PipelineError(f"{self}: condition: there is no {what!r} here, only `env` and `stages`")
        if "hashfiles" in expression.functions:
            raise PipelineError(f"{self}: condition: hashFiles() is for the steps of a workflow file")
        return expression


@dataclass
class PipelineConfig:
    """Stages in the order in which they run; those named together in a list of `parallel_stages` run at once.

    A group takes the place of its first stage. A stage that names what it `depends_on` waits for that instead.
    `name` is for people, `env` variables for all stages, `timeout` seconds for the whole (None:
    `CODOMYRMEX_WORKFLOW_TIMEOUT`, else no limit), `cwd` the directory of the stages that name none.

    Raises PipelineError for names that are there twice or not at all and a stage in two groups; CycleError for stages
    that wait for each other; TypeError or ValueError for what makes no sense.
    """

    stages: list[StageConfig]
    parallel_stages: list[list[str]] = field(default_factory=list)
    name: str = "pipeline"
    env: dict[str, str] = field(default_factory=dict)
    timeout: float | None = None
    cwd: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        self.needs()  # which checks everything
        if not isinstance(self.name, str):
            raise TypeError(f"a pipeline's name must be text, not {self.name!r}")
        self.env = dict(check_env(self.env) or {})
        check_seconds(self.timeout, "timeout")

    def needs(self) -> dict[str, list[str]]:
        """Return for each stage the names of those that it waits for. Raises as making the pipeline does.

        >>> stages = [StageConfig(name, ["true"]) for name in ("build", "unit", "lint", "ship")]
        >>> PipelineConfig(stages, [["unit", "lint"]]).needs()
        {'build': [], 'unit': ['build'], 'lint': ['build'], 'ship': ['unit', 'lint']}
        """
        stages = self._by_name()
        needs: dict[str, list[str]] = {}
        before: list[str] = []
        for level in self._levels(stages):
            for name in level:
                own = stages[name].depends_on
                needs[name] = list(before) if own is None else list(dict.fromkeys(own))
            before = level
        for name, others in needs.items():
            for other in others:
                if other not in stages:
                    raise PipelineError(f"stage {name!r} depends on {other!r}, which is no stage{_hint(other, stages)}")
        Plan(needs)  # which raises CycleError
        return {name: needs[name] for name in stages}

    def _by_name(self) -> dict[str, StageConfig]:
        if isinstance(self.stages, (str, bytes, Mapping)) or not isinstance(self.stages, Iterable):
            raise TypeError(f"stages must be a list of StageConfig, not {self.stages!r:.200}")
        self.stages = list(self.stages)
        stages: dict[str, StageConfig] = {}
        for stage in self.stages:
            if not isinstance(stage, StageConfig):
                raise TypeError(f"stages must be a list of StageConfig, not of {stage!r:.200}")
            if stage.name in stages:
                raise PipelineError(f"there are two stages named {stage.name!r}: give one of them another name")
            stages[stage.name] = stage
        return stages

    def _levels(self, stages: Mapping[str, StageConfig]) -> list[list[str]]:
        """Return the stages that run at once, in their order."""
        if isinstance(self.parallel_stages, (str, bytes, Mapping)) or not isinstance(self.parallel_stages, Iterable):
            raise TypeError(f"parallel_stages must be a list of lists of names, not {self.parallel_stages!r:.200}")
        self.parallel_stages = [
            _texts(group, f"parallel_stages[{place}]", "a list of names")
            for place, group in enumerate(self.parallel_stages)
        ]
        group_of: dict[str, int] = {}
        for place, group in enumerate(self.parallel_stages):
            for name in group:
                if name not in stages:
                    raise PipelineError(f"parallel_stages[{place}]: {name!r} is no stage{_hint(name, stages)}")
                if name in group_of:
                    where = "twice in it" if group_of[name] == place else f"in parallel_stages[{group_of[name]}] too"
                    raise PipelineError(f"parallel_stages[{place}]: the stage {name!r} is {where}; leave one out")
                group_of[name] = place
        levels: dict[object, list[str]] = {}
        for name in stages:
            levels.setdefault(group_of.get(name, name), []).append(name)
        return list(levels.values())


def _texts(value: Any, what: str, form: str) -> list[str]:
    """Return a list of text. Raises TypeError for anything else, one text included."""
    if isinstance(value, str):
        raise TypeError(f"{what} must be {form}, such as [{value!r}], not the one text {value!r}")
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{what} must be {form}, not {value!r:.200}")
    listed = list(value)
    for item in listed:
        if not isinstance(item, str):
            raise TypeError(f"{what} must be {form}; {item!r:.200} is no text")
    return listed


def _hint(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name[:200], names[:10_000], 1)
    return f"; did you mean {near[0]!r}?" if near else f"; the stages are {', '.join(map(repr, names[:20]))}"
