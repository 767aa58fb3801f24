"""`cli_commands`: the commands as data, for programs that offer them in a menu or a command line of their own."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypedDict

import click

from orchestrator.cli.options import CommandWithArguments
from orchestrator.cli.program import COMMANDS, guarded, load_command


class Argument(TypedDict):
    """One argument or option of a command. `name` is the keyword of the handler; an argument has no `flags`."""

    name: str
    flags: list[str]
    help: str
    required: bool
    multiple: bool
    is_flag: bool


class Command(TypedDict):
    """A command: what it does, the function that runs it, and what that takes."""

    help: str
    handler: Callable[..., int]
    args: list[Argument]


def cli_commands() -> dict[str, Command]:
    """Return every command of `orchestrator` by name, with the keys `help`, `handler` and `args`.

    A handler takes the command's arguments and options as keywords and prints what the command prints; it returns its
    exit code. Signals are handled while it runs, so call it in the main thread. It raises TypeError for an unknown
    keyword.

    >>> sorted(cli_commands())[:3]
    ['batch', 'chain', 'ci run']
    >>> cli_commands()["run"]["args"][0]["name"]
    'name'
    """
    return {name: _described(name, command) for name, command in _commands()}


def _commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command; those of a group by two words, such as "ci run"."""
    for name in COMMANDS:
        command = load_command(name)
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())
        else:
            yield name, command


def _described(name: str, command: click.Command) -> Command:
    parameters = [parameter for parameter in command.params if parameter.name is not None]
    args = [_argument(parameter) for parameter in parameters]
    if isinstance(command, CommandWithArguments):
        text = "arguments for the scripts, after --"
        args.append(Argument(name="arguments", flags=[], help=text, required=False, multiple=True, is_flag=False))
    return Command(help=command.get_short_help_str(100), handler=_handler(name, command), args=args)


def _argument(parameter: click.Parameter) -> Argument:
    option = parameter if isinstance(parameter, click.Option) else None
    return Argument(
        name=str(parameter.name),
        flags=list(parameter.opts) if option else [],
        help=(option.help or "") if option else "",
        required=parameter.required,
        multiple=parameter.multiple or parameter.nargs == -1,
        is_flag=option is not None and option.is_flag,
    )


def _handler(name: str, command: click.Command) -> Callable[..., int]:
    def handler(**given: Any) -> int:
        words = list(_words(command, given))
        return guarded(lambda: command.main(words, prog_name=f"orchestrator {name}", standalone_mode=False))

    handler.__name__ = handler.__qualname__ = str(command.name)
    handler.__doc__ = command.help
    return handler


def _words(command: click.Command, given: dict[str, Any]) -> Iterable[str]:
    """Yield what would be typed for these keywords."""
    arguments = given.pop("arguments", ()) if isinstance(command, CommandWithArguments) else ()
    known = {str(parameter.name): parameter for parameter in command.params}
    for name in given.keys() - known.keys():
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
        raise TypeError(f"the command {command.name} has no argument {name!r}; {hint}")
    positional: list[str] = []
    for name, value in given.items():
        parameter = known[name]
        if isinstance(value, Mapping):  # variables, axes of a matrix
            value = list(value.items())
        values = value if isinstance(value, (list, tuple)) and parameter.multiple else [value]
        if isinstance(parameter, click.Argument):
            positional += map(str, value if isinstance(value, (list, tuple)) else [value])
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            if value is not None:
                yield from parameter.opts[:1] if value else parameter.secondary_opts[:1]
        else:
            for one in values:
                if one is not None:
                    yield from (parameter.opts[0], _typed(one))
    yield from positional
    if arguments:
        yield "--"
        yield from map(str, arguments)


def _typed(value: Any) -> str:
    """Return a value of an option as it would be typed."""
    if isinstance(value, tuple):
        name, content = value
        return f"{name}={content if isinstance(content, str) else ','.join(map(str, content))}"
    return str(value)
