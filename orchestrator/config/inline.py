"""What a script's file says of itself: a line of description, and the `[tool.orchestrator]` table of its metadata.

Nothing is imported or executed; of a file at most 1 MB is read. `orchestrator.config` checks what the table holds.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from typing import Any

from orchestrator.config.places import found, mistake
from orchestrator.config.syntax import MOST_BYTES, read_head, read_toml

_OPENING = re.compile(r"# /// ([A-Za-z0-9-]+)")
_CLOSING = "# ///"
_DIRECTIVE = re.compile(r"-\*-|vim?:|shellcheck\s|coding[:=]")
"""Comments that are not for people."""


@dataclass(frozen=True, slots=True)
class Inline:
    """What a script says of itself.

    `description` is the first line of a Python script's docstring, of another script's first comment; "" if it has
    none. `table` is `[tool.orchestrator]`, as it stands there. `has_block` tells whether there is inline metadata,
    with or without that table.
    """

    description: str = ""
    table: dict[str, Any] = field(default_factory=dict)
    has_block: bool = False


@dataclass(frozen=True, slots=True)
class _Block:
    """A metadata block: its type, its content, and the numbers of its first and last lines, from 0."""

    kind: str
    content: str
    first: int
    last: int


def read_inline(path: str | os.PathLike[str], *, described: bool = True) -> Inline:
    """Read what the script says of itself: its description and the table of its `# /// script` block.

    The block's form is that of PEP 723 ("Inline script metadata"). Of a file larger than 1 MB only that much is
    searched for the block, and its description is "". What is no regular file (a FIFO, a folder) says nothing. Unless
    `described`, the description is not looked for.

    Raises OSError when the file cannot be read, ConfigError for a second `script` block, for a syntax error in it,
    and for a `tool` or `tool.orchestrator` that is no table. Python that does not compile is no error here.
    """
    name = os.fsdecode(path)
    data = read_head(name)
    if data is None or not (described or _CLOSING.encode() in data):
        return Inline()
    text = _decode(data[:MOST_BYTES])
    lines = text.split("\n")
    blocks = _blocks(lines) if _CLOSING in text else []
    table = _own_table([block for block in blocks if block.kind == "script"], name)
    description = ""
    if described and len(data) <= MOST_BYTES:
        is_python = name.endswith((".py", ".pyw")) or (lines[0].startswith("#!") and "python" in lines[0])
        description = _docstring_line(text) if is_python else _comment_line(lines, blocks)
    return Inline(description, table, any(block.kind == "script" for block in blocks))


def _decode(data: bytes) -> str:
    """Return the text by its encoding declaration (PEP 263), else as UTF-8; what does not fit is replaced."""
    import tokenize  # late, as are its kin: running a script needs none of it

    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding, "replace")
    except (SyntaxError, LookupError, ValueError):  # an unknown encoding, one that is not for text, or bytes in line 1
        text = data.decode("utf-8-sig", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _blocks(lines: list[str]) -> list[_Block]:
    """Return the metadata blocks, in order; one that is not closed is none.

    A block takes all comment lines that follow its opening, up to the last closing line among them: a closing
    line that other comment lines and another closing line follow is content.
    """
    blocks: list[_Block] = []
    end = 0
    for number, line in enumerate(lines):
        if number < end or not line.startswith(_CLOSING) or not (opening := _OPENING.fullmatch(line)):
            continue
        end = number + 1
        while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
            end += 1
        last = next((n for n in range(end - 1, number + 1, -1) if lines[n] == _CLOSING), None)
        if last:
            content = "\n".join(line[2:] for line in lines[number + 1 : last])
            blocks.append(_Block(opening[1], content, number, last))
    return blocks


def _own_table(blocks: list[_Block], file: str) -> dict[str, Any]:
    """Return `[tool.orchestrator]` of the one block of type `script`; {} without either."""
    if len(blocks) > 1:
        first = blocks[0].first + 1
        raise mistake(file, f"a second block '# /// script'; the first is in line {first}", blocks[1].first + 1)
    if not blocks:
        return {}
    table: Any = read_toml(blocks[0].content, file, first_line=blocks[0].first + 2)
    for keys in ("tool", "tool.orchestrator"):
        table = table.get(keys.rpartition(".")[2], {})
        if not isinstance(table, dict):
            raise mistake(file, f"{keys}: must be a table of keys and values, not {found(table)}")
    return dict(table)


def _docstring_line(source: str) -> str:
    """Return the first line of the module's docstring. Only the tokens up to its end are looked at."""
    import ast
    import tokenize
    import warnings

    words: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.STRING:
                words.append(token.string)
            elif token.type in (tokenize.NEWLINE, tokenize.ENDMARKER) or token.string == ";":
                break
            elif token.type not in (tokenize.COMMENT, tokenize.NL):
                return ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in the docstring is for its author to hear of
            docstring = ast.get_docstring(ast.parse(" ".join(words)))
    except (SyntaxError, ValueError, tokenize.TokenError):  # ValueError: a NUL
        return ""
    return (docstring or "").partition("\n")[0].strip()


def _comment_line(lines: list[str], blocks: list[_Block]) -> str:
    """Return the first comment above the first line of code that is not the shebang, a directive or metadata."""
    metadata = {number for block in blocks for number in range(block.first, block.last + 1)}
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith("#"):
            return ""
        text = line.strip("#").strip()
        if text and number not in metadata and not line.startswith("#!") and not _DIRECTIVE.match(text):
            return text
    return ""
