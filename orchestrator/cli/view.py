"""View: what a run shows and keeps, as the options say; and the one way from an order to an exit code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.codes import CannotStartError
from orchestrator.cli.order import Order
from orchestrator.cli.streams import Outlet, is_smart_terminal
from orchestrator.dag.workflow import Workflow
from orchestrator.events import Listener
from orchestrator.reports.system import OFF, Ci

if TYPE_CHECKING:
    from orchestrator.cli.display import Display
    from orchestrator.cli.results_folder import ResultsFolder
    from orchestrator.cli.signals import Stoppable
    from orchestrator.cli.voice import Voice


_CONTRARY = (
    ("--quiet", "--verbose"),
    ("--json", "--jsonl"),
    ("--json", "--tag"),
    ("--json", "--line-buffer"),
    ("--jsonl", "--tag"),
    ("--verbose", "--tag"),
    ("--verbose", "--line-buffer"),
    ("--line-buffer", "--keep-order"),
)
"""Options that contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The options under "What to show and keep". Raises click.UsageError for two that contradict each other."""

    results: str | None = None
    as_json: bool = False
    jsonl: bool = False
    quiet: bool = False
    verbose: bool = False
    tag: bool = False
    line_buffer: bool = False
    keep_order: bool = False
    junit: str | None = None
    ci: Ci = OFF
    color: bool | None = None

    def __post_init__(self) -> None:
        given = {
            "--" + field.name.removeprefix("as_").replace("_", "-")
            for field in fields(View)
            if getattr(self, field.name)
        }
        for one, other in _CONTRARY:
            if {one, other} <= given:
                raise click.UsageError(f"give either {one} or {other}, not both")

    @property
    def lines(self) -> bool:
        """Whether standard output is for the lines that scripts print."""
        return self.tag or (self.line_buffer and not self.jsonl)

    @property
    def machine(self) -> bool:
        """Whether standard output is for a program, so that what people read goes to standard error."""
        return self.as_json or self.jsonl

    @property
    def marks(self) -> bool:
        """Whether a CI system's marks may stand on standard output: where all of it is for people."""
        return not (self.machine or self.lines or self.quiet)

    @property
    def folds(self) -> bool:
        """Whether the output of each task stands between marks of the CI system's, which fold it or guard it."""
        return self.marks and ("groups" in self.ci.features or (self.verbose and self.ci.guards))

    @property
    def passes_through(self) -> bool:
        """Whether nothing is asked for that a script with our standard streams would not do."""
        return not self.ci.asked and self == View(color=self.color, ci=self.ci)

    def outlets(self) -> tuple[Outlet, Outlet]:
        """Return standard output and standard error."""
        return Outlet(sys.stdout, self.color), Outlet(sys.stderr, self.color)

    def voice(self, order: Order) -> Voice:
        """Return what speaks on standard output while tasks run."""
        from orchestrator.cli.voice import InOrder, JsonLines, Lines, Sections, Silence

        voice: Voice = Silence()
        if self.jsonl:
            voice = JsonLines(order)
        elif self.lines:
            voice = Lines(order, tag=self.tag, live=self.line_buffer)
        elif self.folds:
            from orchestrator.cli.folds import Folds

            voice = Folds(order, self.ci)
        elif self.verbose:
            voice = Sections(order)
        return InOrder(voice) if self.keep_order else voice

    def display(self, order: Order, out: Outlet, err: Outlet) -> Display:
        """Return what shows people how far it is: a picture on a terminal, else lines."""
        from orchestrator.cli.lines import LineDisplay
        from orchestrator.cli.live import LiveDisplay

        spoken = err if self.as_json else out
        if is_smart_terminal(sys.stderr) and not self.quiet:
            return LiveDisplay(order, self.voice(order), spoken, err)
        quiet = self.quiet or self.verbose or self.tag or self.folds
        return LineDisplay(order, self.voice(order), spoken, err, quiet=quiet)

    def folder(self, order: Order) -> ResultsFolder | None:
        """Return where results are kept, made and tried."""
        if self.results is None:
            return None
        from orchestrator.cli.results_folder import NotEmptyError, ResultsFolder

        try:
            return ResultsFolder(self.results, order)
        except NotEmptyError as error:
            raise click.UsageError(str(error)) from error
        except OSError as error:
            reason = f"cannot write to the results folder {self.results!r}: {error.strerror}"
            raise CannotStartError(reason) from error


def view_of(options: Mapping[str, Any]) -> View:
    """Return the view that a command's options ask for; it takes its own from among them."""
    return View(**{field.name: options[field.name] for field in fields(View) if field.name in options})


def carry_out(
    order: Order,
    view: View,
    *,
    dry_run: bool,
    heard: Listener | None = None,
    own: Workflow | None = None,
    runner: Stoppable | None = None,
    at_once: bool = False,
) -> int:
    """Run an order, or say what would run, as the view has it; return the exit code.

    `heard` hears of what happens before anybody is shown it. `own` is a workflow that is not ours to make anew,
    `runner` what signals stop instead of it. With `at_once` the first signal stops what runs.
    """
    out, err = view.outlets()

    from orchestrator.cli.tell import tell_order, tell_record

    order.workflow().validate()  # a circle is told before anything runs, and before a folder is made
    if dry_run:
        return tell_order(order, out, as_json=view.machine)

    from orchestrator.cli.execute import execute
    from orchestrator.cli.report import run_of
    from orchestrator.reports.telling import write_reports

    folder = view.folder(order)
    display = view.display(order, out, err)
    aside = contextlib.redirect_stdout(sys.stderr) if view.machine or view.lines else contextlib.nullcontext()
    with aside:  # what functions in this process print would get among what programs read
        record = execute(
            order, display, folder,
            heard=heard, live_output=view.line_buffer, own=own, runner=runner, at_once=at_once,
        )  # fmt: skip
    return tell_record(record, folder, out, err, view, list(write_reports(run_of(record), view.ci, view.junit)))
