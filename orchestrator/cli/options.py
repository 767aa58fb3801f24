"""How options are read and shown: durations, sizes, variables, and a help page in sections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from orchestrator.limits import parse_bytes, parse_seconds

_F = TypeVar("_F", bound=Callable[..., Any])


def read_count(least: int) -> Callable[[click.Context, click.Parameter, int | None], int | None]:
    """Return a callback of click that refuses a number below `least`."""

    def read(_ctx: click.Context, _param: click.Parameter, number: int | None) -> int | None:
        if number is not None and number < least:
            raise click.BadParameter(f"must be a whole number from {least} up, not {number}")
        return number

    return read


def read_seconds(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    """Read a duration of more than zero (a callback of click)."""
    if text is None:
        return None
    return _more_than_zero(_read(parse_seconds, text), "seconds")


def read_seconds_or_zero(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    """Read a duration, zero allowed (a callback of click)."""
    return _read(parse_seconds, text)


def read_memory(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    """Read an amount of memory of more than zero (a callback of click)."""
    if text is None:
        return None
    return _more_than_zero(_read(parse_bytes, text), "bytes")


def read_variables(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Read environment variables, `NAME=value`; the value may be empty (a callback of click)."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{text!r} is not a variable: write NAME=value")
        found[name] = value
    return found


_N = TypeVar("_N", int, float)


def _read(parse: Callable[[str], _N], text: str) -> _N:
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _more_than_zero(number: _N, unit: str) -> _N:
    if number <= 0:
        raise click.BadParameter(f"must be more than zero {unit}; for no limit, leave the option out")
    return number


class _SectionOption(click.Option):
    """An option that stands under a heading of the help page."""

    heading: str = ""


class CommandWithArguments(click.Command):
    """A command whose words after `--` are its parameter `arguments`, and whose help has headings."""

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


def option_under(heading: str) -> Callable[..., Callable[[_F], _F]]:
    """Return a `click.option` whose options stand under the heading.

    >>> limit = option_under("Limits for each script")
    """
    section = type("SectionOption", (_SectionOption,), {"heading": heading})

    def option(*declarations: str, **attributes: Any) -> Callable[[_F], _F]:
        return click.option(*declarations, cls=section, **attributes)

    return option
