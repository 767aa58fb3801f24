"""YAML, read so that a small file cannot become a large or strange value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orchestrator.config.places import Keys, cut, dotted, mistake
from orchestrator.config.syntax import MOST_DEPTH
from orchestrator.exceptions import ConfigError

if TYPE_CHECKING:
    import yaml


def read_yaml(text: str, file: str) -> tuple[Any, dict[Keys, int]]:
    """Return the value of a YAML document, and the line of each key.

    Refused, besides what PyYAML refuses: aliases, tags, a key that stands twice in a mapping, deep nesting. Dates
    and numbers with colons (1:30 is 90 in YAML 1.1) stay text, as in YAML 1.2.
    """
    import yaml  # late: it takes as long as a short script, and most configs are TOML

    try:
        _check_events(yaml.parse(text, yaml.SafeLoader), file)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines = dict(_lines(node, file)) if node else {}
        return loader.construct_document(node) if node else None, lines
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
    except ValueError as error:  # int(), for a number of thousands of digits
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
