"""YAML, read so that a small file cannot become a large or strange value.

`read_yaml` is for configs. `read_document` is for files that are written for others too, GitHub's workflows: YAML
1.2, where `on` and `yes` are text, with anchors. Each mistake is a ConfigError with its line.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.config.places import Keys, cut, dotted, mistake
from orchestrator.config.syntax import MOST_DEPTH
from orchestrator.exceptions import ConfigError

if TYPE_CHECKING:
    import yaml

MOST_NODES = 50_000
"""Values in a document, keys too, and those that an alias repeats each time."""

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_WHOLE = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_FINITE_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
"""These five: the core schema of YAML 1.2.2, section 10.3.2."""

_MOST_DIGITS = 15
"""Of a whole number: a longer one is read as others read it, as a floating point number of 64 bits."""

_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document: its value, the line of each key and item, and how its numbers are written (`3.10`)."""

    value: Any
    lines: dict[Keys, int] = field(default_factory=dict)
    numbers: dict[Keys, str] = field(default_factory=dict)


def read_document(text: str, file: str) -> Document:
    """Return a document of YAML 1.2 (core schema) in which aliases stand for copies of what they name.

    Keys are text as written. Refused: tags, merge keys (`<<`), a key that stands twice, a second document, an anchor
    that stands twice or holds its own alias, text with NUL or lone surrogates, deep nesting, over `MOST_NODES` values.

    >>> read_document("on: [push]\\nversions: [3.10, 0o17, no]", "ci.yml").value
    {'on': ['push'], 'versions': [3.1, 15, 'no']}
    """
    import yaml  # late: as in read_yaml

    with _told(text, file):
        _check_document(yaml.parse(text, yaml.BaseLoader), file)
        node = yaml.compose(text, yaml.BaseLoader)
        document = Document(None)
        if node is None:
            return document
        return Document(_value(node, document, file, ()), document.lines, document.numbers)


def read_yaml(text: str, file: str) -> tuple[Any, dict[Keys, int]]:
    """Return the value of a YAML document, and the line of each key.

    Refused, besides what PyYAML refuses: aliases, tags, a key that stands twice in a mapping, deep nesting. Dates
    and numbers with colons (1:30 is 90 in YAML 1.1) stay text, as in YAML 1.2.
    """
    import yaml  # late: it takes as long as a short script, and most configs are TOML

    with _told(text, file):
        _check_events(yaml.parse(text, yaml.SafeLoader), file)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines = dict(_lines(node, file)) if node else {}
        return loader.construct_document(node) if node else None, lines


@contextlib.contextmanager
def _told(text: str, file: str) -> Iterator[None]:
    """Make a ConfigError of what PyYAML raises."""
    import yaml

    try:
        yield
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise mistake(file, f"no valid YAML: the character {chr(error.character)!r} is not allowed", line) from None
    except yaml.MarkedYAMLError as error:
        cure = "; indent with spaces, not with tabs" if "'\\t'" in str(error.problem) else ""
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise mistake(file, f"no valid YAML: {error.problem or error.context}{cure}", *place) from None
    except ConfigError:
        raise
    except (ValueError, OverflowError) as error:  # int(), for a number of thousands of digits; chr(), for "\UFFFFFFFF"
        raise mistake(file, f"no valid YAML: {error}") from None


def _check_events(events: Iterator[yaml.Event], file: str) -> None:
    """Refuse what would let a small file become a large or strange value."""
    import yaml

    depth = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent):
            raise mistake(
                file, f"the alias *{cut(str(event.anchor))}: aliases are not read, write the value again", line
            )
        if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)) and event.tag:
            raise mistake(file, f"the tag {cut(event.tag)}: tags are not read, quote what is text", line)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise mistake(file, f"nested deeper than {MOST_DEPTH} levels", line)


def _lines(node: yaml.Node, file: str, keys: Keys = ()) -> Iterator[tuple[Keys, int]]:
    """Yield the line of each key and item; refuse a key that stands twice; make text of dates and of 1:30."""
    import yaml

    kind = node.tag.rpartition(":")[2]
    if kind == "timestamp" or (kind in ("int", "float") and ":" in node.value):
        node.tag = "tag:yaml.org,2002:str"
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*keys, index), item.start_mark.line + 1
            yield from _lines(item, file, (*keys, index))
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            yield from _lines(key, file, keys)
            name, line = str(key.value), key.start_mark.line + 1
            if name in first:
                where = dotted((*keys, name))
                raise mistake(file, f"{cut(where, 200)}: stands twice, first in line {first[name]}", line)
            first[name] = line
            yield (*keys, name), line
            yield from _lines(value, file, (*keys, name))


@dataclass(slots=True)
class _Part:
    """A value, its anchor, how many values it is with those in it, and on how many levels below."""

    anchor: str | None
    nodes: int = 1
    levels: int = 0


def _check_document(events: Iterable[yaml.Event], file: str) -> None:
    """Refuse what would let a small file become a large or strange value, before anything is built.

    What an alias repeats is counted from the size of what has been seen, so a bomb costs no more than its length.
    """
    import yaml

    around: list[_Part] = []  # lists and mappings whose end has not been seen
    anchored: dict[str, _Part] = {}
    lines: dict[str, int] = {}
    total = documents = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionEndEvent):
            part = around.pop()
        elif isinstance(event, yaml.AliasEvent):
            part = _repeated(str(event.anchor), around, anchored, file, line)
            total += part.nodes
        elif isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)):
            _check_tag(event, file, line)
            if event.anchor is not None and event.anchor in lines:
                first = lines[event.anchor]
                raise mistake(file, f"the anchor &{cut(event.anchor)} stands twice, first in line {first}", line)
            part = _Part(event.anchor, 1, int(isinstance(event, yaml.CollectionStartEvent)))
            lines[event.anchor or ""] = line
            total += 1
        else:
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise mistake(file, "a second document starts here; a file holds one: give it a file of its own", line)
            continue
        if total > MOST_NODES:
            cause = f"the alias *{cut(str(part.anchor))} makes" if isinstance(event, yaml.AliasEvent) else "these are"
            raise mistake(file, f"{cause} more than {MOST_NODES} values in one file, the most that is read", line)
        if len(around) + part.levels > MOST_DEPTH:
            raise mistake(file, f"nested deeper than {MOST_DEPTH} levels", line)
        if isinstance(event, yaml.CollectionStartEvent):
            around.append(part)
            continue
        if part.anchor is not None:
            anchored[part.anchor] = part
        if around:
            around[-1].nodes += part.nodes
            around[-1].levels = max(around[-1].levels, part.levels + 1)


def _repeated(anchor: str, around: list[_Part], anchored: dict[str, _Part], file: str, line: int) -> _Part:
    """Return what an alias stands for."""
    name = cut(anchor)
    if any(outer.anchor == anchor for outer in around):
        raise mistake(file, f"the alias *{name} stands inside of what it names, which would never end", line)
    if anchor not in anchored:
        raise mistake(file, f"the alias *{name} names no anchor above it: write &{name} before the value", line)
    return anchored[anchor]


def _check_tag(event: yaml.ScalarEvent | yaml.CollectionStartEvent, file: str, line: int) -> None:
    if event.tag:
        cure = "; quote what is text, as in '!cancelled()', or write ${{ !cancelled() }}"
        raise mistake(file, f"the tag {cut(event.tag)}: tags are not read{cure}", line)


def _value(node: yaml.Node, document: Document, file: str, keys: Keys) -> Any:
    """Return what a node stands for; note lines and numbers in the document."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, document, file, keys)
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            document.lines[(*keys, index)] = item.start_mark.line + 1
            items.append(_value(item, document, file, (*keys, index)))
        return items
    table: dict[str, Any] = {}
    first: dict[str, int] = {}
    for key, item in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise mistake(file, "a list or table cannot be a key: write text", line)
        name, where = key.value, cut(dotted((*keys, key.value)), 200)
        _check_text(name, file, line)
        if name == "<<" and key.style is None:
            raise mistake(file, f"{where}: merge keys are read neither here nor by GitHub: write the keys out", line)
        if name in first:
            raise mistake(file, f"{where}: stands twice, first in line {first[name]}", line)
        first[name] = document.lines[(*keys, name)] = line
        table[name] = _value(item, document, file, (*keys, name))
    return table


def _scalar(node: yaml.ScalarNode, document: Document, file: str, keys: Keys) -> Any:
    """Return what a scalar stands for: text when it is quoted or a block, else as the core schema says."""
    written: str = node.value
    plain = node.style is None
    if plain and _NULL.fullmatch(written):
        return None
    if plain and _BOOLEAN.fullmatch(written):
        return written.lower() == "true"
    if plain and _NO_FINITE_NUMBER.fullmatch(written):
        return float(written.replace(".", ""))
    if plain and _NUMBER.fullmatch(written):
        document.numbers[keys] = written
        return int(written) if _WHOLE.fullmatch(written) and len(written) <= _MOST_DIGITS else float(written)
    if plain and _WHOLE.fullmatch(written):
        document.numbers[keys] = written
        number = int(written[2:], 8 if written[1] == "o" else 16)
        return number if len(written) <= _MOST_DIGITS else float(number)
    _check_text(written, file, node.start_mark.line + 1)
    return written


def _check_text(text: str, file: str, line: int) -> None:
    if _NO_TEXT.search(text):
        raise mistake(file, f"{cut(repr(text))}: text must have no NUL and no lone surrogates", line)
