"""The options that several commands share, and a help page in sections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from orchestrator.cli.pages import WithHelp
from orchestrator.cli.readings import (
    AXIS,
    DURATION,
    HALT,
    JOBS,
    LIMIT,
    MEMORY,
    RETRIES,
    TIMEOUT,
    VARIABLE,
    Halt,
    Reading,
)
from orchestrator.limits import GRACE_SECONDS
from orchestrator.reports.system import JUNIT_FILE, read_ci

_F = TypeVar("_F", bound=Callable[..., Any])
Axes = tuple[tuple[str, tuple[str, ...]], ...]


class _SectionOption(click.Option):
    """An option that stands under a heading of the help page."""

    heading: str = ""


class SectionedCommand(WithHelp):
    """A command whose help page has its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings, in the order of their declaration."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(option, "heading", "Other"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class CommandWithArguments(SectionedCommand):
    """A command whose words after `--` are its parameter `arguments`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what follows the first `--` from the parser."""
        before, after = args, []
        if "--" in args:
            cut = args.index("--")
            before, after = args[:cut], args[cut + 1 :]
        ctx.params["arguments"] = tuple(after)
        return super().parse_args(ctx, before)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show where the arguments go."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS...]"]


def option_under(heading: str) -> Callable[..., Callable[[_F], _F]]:
    """Return a `click.option` whose options stand under the heading.

    >>> limit = option_under("Limits for each script")
    """
    section = type("SectionOption", (_SectionOption,), {"heading": heading})

    def option(*declarations: str, **attributes: Any) -> Callable[[_F], _F]:
        return click.option(*declarations, cls=section, **attributes)

    return option


def together(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Return a decorator that adds several options, in this order."""

    def add(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


_running = option_under("How to run")
_output = option_under("What to show and keep")

config = _running(
    "--config",
    type=click.Path(),
    metavar="FILE",
    help="Read this config instead of the nearest one.",
)

color = _output(
    "--color/--no-color",
    default=None,
    help="Use colours or not; if not given, NO_COLOR, FORCE_COLOR and the terminal decide.",
)

jobs = _running(
    "-j",
    "--jobs",
    type=JOBS,
    metavar="N|N%|auto",
    help="Run so many at a time: a number, or a share of the CPUs [auto].",
)


def limits(of: str = "a script", *, heading: str = "Limits for each script", share: bool = False) -> Callable[[_F], _F]:
    """Return the options for the limits of something; `share` allows a timeout that others' times decide."""
    option = option_under(heading)
    median = "; or 300% of the median time of those that ended well (from the third on)" if share else ""
    return together(
        option(
            "--timeout",
            type=LIMIT if share else TIMEOUT,
            metavar="TIME",
            help=f"Stop {of} after TIME: 90, 1.5s, 1h30m{median}.",
        ),
        option(
            "--memory",
            type=MEMORY,
            metavar="SIZE",
            help="Stop what uses, with all its processes, more memory than SIZE: 512M, 2G.",
        ),
        option(
            "--kill-after",
            "--grace",
            "grace",
            type=DURATION,
            default=f"{GRACE_SECONDS:g}s",
            metavar="TIME",
            show_default=True,
            help="Leave it TIME to end by itself between being asked to stop and killed.",
        ),
    )


surroundings = together(
    _running(
        "--cwd",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        help="Run the scripts in this folder.",
    ),
    _running(
        "--env",
        type=VARIABLE,
        callback=lambda _ctx, _param, pairs: dict(pairs),
        multiple=True,
        metavar="NAME=VALUE",
        help="Set a variable for the scripts; may be repeated.",
    ),
)

dry_run = _running(
    "-n", "--dry-run", is_flag=True, help="Only list what would run, with its arguments, limits and order."
)

retries = _running("--retries", type=RETRIES, metavar="N", help="Run a script that failed up to N times more [0].")

halting = together(
    _running(
        "--halt",
        type=HALT,
        metavar="WHEN",
        help="Give up at so many failures, or over such a share: now,fail=1 also stops what runs; soon,fail=3 or "
        "soon,fail=10% lets it end.",
    ),
    _running(
        "--fail-fast/--keep-going",
        default=False,
        help="At the first failure start no more and stop those that run (--halt now,fail=1), or go on [go on].",
    ),
)


def _each_once(ctx: click.Context, param: click.Parameter, axes: Axes) -> Axes:
    """Refuse an axis that is given twice: the second would silently win."""
    names = [name for name, _ in axes]
    for name in names:
        if names.count(name) > 1:
            raise click.BadParameter(f"there are two axes {name!r}: write all values in one, {name}=first,second")
    return axes


matrix = _running(
    "--matrix",
    type=AXIS,
    callback=_each_once,
    multiple=True,
    metavar="NAME=A,B,...",
    help="Run each script once for every combination of values; each gets `--NAME VALUE` and the variable NAME. "
    "{NAME} in ARGUMENTS puts the value there instead. May be repeated.",
)

lists = together(
    _running(
        "-a",
        "--from-file",
        type=click.Path(allow_dash=True),
        multiple=True,
        metavar="FILE",
        help="Read scripts from FILE (- is standard input): one a line, with arguments quoted as for a shell.",
    ),
    _running(
        "-0", "--null", is_flag=True, help="What is read ends in NUL, not newline: each is a path and nothing else."
    ),
)

showing = together(
    _output(
        "--results",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="Write stdout, stderr and meta.json of each to a folder NNN-name in the new or empty DIR.",
    ),
    _output(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON document on standard output; what people read goes to standard error.",
    ),
    _output(
        "--jsonl",
        is_flag=True,
        help="Print a line of JSON on standard output for each thing that happens; with --line-buffer also for what is "
        "printed. The schema is in docs/cli.md.",
    ),
    _output("-q", "--quiet", is_flag=True, help="Show only failures and the last line."),
    _output("-v", "--verbose", is_flag=True, help="Show the output of each when it has finished."),
    _output("--tag", is_flag=True, help="Show the output of each, its name before every line."),
    _output("--line-buffer", is_flag=True, help="Show each line of output as it comes."),
    _output("-k", "--keep-order", is_flag=True, help="Show output in the given order, not as they finish."),
    _output(
        "--junit",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help=f"Write a JUnit report to FILE [under GitLab and Jenkins {JUNIT_FILE}, else none].",
    ),
    _output(
        "--ci",
        type=Reading("SYSTEM", read_ci),
        default="auto",
        metavar="SYSTEM[,-WHAT]",
        help="Report in the words of a CI system: auto (the one around us), github, gitlab, jenkins or off; each -WHAT "
        "leaves out annotations, groups, junit or summary [auto].",
    ),
    color,
)


def halt_of(halt: Halt | None, fail_fast: bool) -> Halt | None:
    """Return when to give up, as `--halt` or `--fail-fast` say. Raises click.UsageError when both do."""
    if halt is not None and fail_fast:
        raise click.UsageError("give either --halt or --fail-fast, not both")
    return Halt("now", 1) if fail_fast else halt
