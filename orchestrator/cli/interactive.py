"""The menu: list, search and run scripts and workflows, and look at what came of them. A plain terminal is enough.

One line is read at a time; while something runs, the picture of `live.py` shows what the pool does.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from dataclasses import dataclass

import click

from orchestrator.cli import codes
from orchestrator.cli.codes import CannotStartError
from orchestrator.cli.execute import execute
from orchestrator.cli.gather import Given, Named, tasks_of
from orchestrator.cli.listing import columns, said
from orchestrator.cli.order import Order
from orchestrator.cli.record import Record
from orchestrator.cli.report import section
from orchestrator.cli.running import order_of
from orchestrator.cli.tell import tell_record
from orchestrator.cli.view import View
from orchestrator.cli.workers import jobs_of
from orchestrator.config import Config, read_config, script_config
from orchestrator.dag.workflow import Workflow
from orchestrator.discovery import discover_scripts
from orchestrator.exceptions import ConfigError, CycleError
from orchestrator.named import NamedWorkflow, named_workflows
from orchestrator.wording import count, visible

_HELP = """\
  l [TEXT]          list scripts and workflows; with TEXT those that have it in their name or description
  r WHICH [ARGS]    run one, by its number or name; ARGS go to a script
  b WHICH...        run several scripts at a time
  o [N]             what has been run; with a number the output of that one
  u                 look for scripts and workflows again
  h                 this help
  q                 leave (also Ctrl-D)
"""


@dataclass(frozen=True, slots=True)
class _Entry:
    """Something that can be run."""

    name: str
    description: str
    workflow: NamedWorkflow | None = None


class Menu:
    """One session of the menu. Raises CannotStartError where standard input is no terminal."""

    def __init__(self) -> None:
        if sys.stdin is None or not sys.stdin.isatty():
            raise CannotStartError(
                "the menu needs a terminal, and standard input is none. Without one: orchestrator batch, run, discover"
            )
        self._config: Config = read_config()
        self._entries: list[_Entry] = []
        self._past: list[tuple[str, Record, int]] = []
        """What has been run: its name, and the place of the task in the record."""

    def run(self) -> int:
        """Read and obey until the user leaves; return the exit code."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # at the prompt Ctrl-C drops the line
        try:
            return self._talk()
        finally:
            signal.signal(signal.SIGINT, before)

    def _talk(self) -> int:
        _enable_editing()
        self._look()
        click.echo(f"orchestrator: {self._inventory()}; h for help\n")
        self._list("")
        while True:
            try:
                line = input("> ")
            except EOFError:
                click.echo()
                return codes.GOOD
            except KeyboardInterrupt:
                click.echo()
                continue
            word, _, rest = line.strip().partition(" ")
            if word in ("q", "quit", "exit"):
                return codes.GOOD
            try:
                self._obey(word, rest.strip())
            except click.ClickException as error:
                click.echo(error.format_message())
            except (ConfigError, CycleError) as error:
                click.echo(str(error))

    def _obey(self, word: str, rest: str) -> None:
        match word:
            case "":
                pass
            case "l" | "list" | "s" | "search":
                self._list(rest)
            case "r" | "run":
                self._run(_words(rest))
            case "b" | "batch":
                self._run_several(_words(rest))
            case "o" | "output":
                self._show(rest)
            case "u" | "update":
                self._config = read_config()
                self._look()
                click.echo(self._inventory())
            case "h" | "help" | "?":
                click.echo(_HELP, nl=False)
            case _ if word.isdecimal():
                self._run([word, *_words(rest)])
            case _:
                click.echo(f"{word!r} is no choice; h for help")

    def _look(self) -> None:
        flows = named_workflows(self._config).values()
        scripts = discover_scripts()
        self._entries = [_Entry(flow.name, flow.description, flow) for flow in flows]
        for script in scripts:
            try:
                description = script_config(script, self._config)["description"]
            except ConfigError as error:
                description = str(error)
            self._entries.append(_Entry(script, description))

    def _inventory(self) -> str:
        flows = sum(entry.workflow is not None for entry in self._entries)
        return f"{count(len(self._entries) - flows, 'script')}, {count(flows, 'workflow')}"

    def _list(self, text: str) -> None:
        rows = [
            (
                f"{number:>3}",
                "workflow" if entry.workflow else "script",
                visible(entry.name),
                said(entry.description),
            )
            for number, entry in enumerate(self._entries, 1)
            if text.lower() in f"{entry.name} {entry.description}".lower()
        ]
        click.echo(columns(rows, _width()), nl=False)
        if not rows:
            click.echo(f"nothing here has {text!r} in its name or description" if text else "nothing to run here")

    def _chosen(self, word: str) -> _Entry:
        """Return what a number, a name, or the only name that has the word in it, means."""
        if word.isdecimal() and 1 <= int(word) <= len(self._entries):
            return self._entries[int(word) - 1]
        named = [entry for entry in self._entries if word == entry.name]
        exact = named or [entry for entry in self._entries if word in _names(entry)]
        found = exact or [entry for entry in self._entries if word in entry.name]
        if len(found) == 1:
            return found[0]
        if found:
            raise click.UsageError(f"{word!r} is in the names of {len(found)}: {', '.join(e.name for e in found[:5])}")
        raise click.UsageError(f"there is no {word!r} here; l lists what there is")

    def _run(self, words: list[str]) -> None:
        if not words:
            raise click.UsageError("run which? A number or a name, as l lists them")
        entry = self._chosen(words[0])
        if entry.workflow is None:
            self._run_scripts([Named(entry.name, tuple(words[1:]))])
            return
        order, own = order_of(entry.workflow, self._config)
        self._execute(order, View(), own)

    def _run_several(self, words: list[str]) -> None:
        if not words:
            raise click.UsageError("run which? Numbers or names, as l lists them")
        entries = [self._chosen(word) for word in words]
        for entry in entries:
            if entry.workflow is not None:
                raise click.UsageError(f"{entry.name} is a workflow: run it by itself with r")
        self._run_scripts([Named(entry.name) for entry in entries])

    def _run_scripts(self, scripts: list[Named]) -> None:
        tasks = tuple(tasks_of(scripts, Given(), self._config, ignore_needs=len(scripts) == 1))
        order = Order(tasks=tasks, jobs=jobs_of(None, self._config, len(tasks)))
        order.workflow().validate()
        self._execute(order, View(verbose=len(tasks) == 1), None)

    def _execute(self, order: Order, view: View, own: Workflow | None) -> None:
        out, err = view.outlets()
        record = execute(order, view.display(order, out, err), None, own=own)
        tell_record(record, None, out, err, view)
        self._past += [(record.order.label(place), record, place) for place in record.results]

    def _show(self, which: str) -> None:
        if which.isdecimal() and 1 <= int(which) <= len(self._past):
            label, record, place = self._past[int(which) - 1]
            View().outlets()[0].print(*section(label, record.results[place]))
            return
        if which:
            raise click.UsageError(f"there is no {which!r} among the {len(self._past)} that have been run")
        rows = [
            (f"{number:>3}", record.results[place].ending.value, label)
            for number, (label, record, place) in enumerate(self._past, 1)
        ]
        click.echo(columns(rows, _width()) or "nothing has been run yet\n", nl=False)


def _names(entry: _Entry) -> set[str]:
    base = os.path.basename(entry.name)
    return {entry.name, base, os.path.splitext(base)[0]}


def run_orchestrator() -> None:
    """Open the interactive menu: list, search and run scripts and workflows, and look at what came of them.

    Without a terminal it says so on standard error and returns.
    """
    from orchestrator.cli.program import guarded

    guarded(lambda: Menu().run())


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise click.UsageError(f"{error}: {text}") from error


def _width() -> int:
    return View().outlets()[0].width()


def _enable_editing() -> None:
    """Have line editing and a history at the prompt, where Python was built with readline."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401
