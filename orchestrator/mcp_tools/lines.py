"""Lines that are no message of the protocol: what the client is told of them.

The SDK passes over them without a word, and whoever has sent a request in one would wait for its answer for ever.
"""

from __future__ import annotations

import json
from typing import Any

from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    jsonrpc_message_adapter,
)

from orchestrator.wording import size

LONGEST = 64 << 20
"""Bytes of one message at most."""


def answer_to(line: str) -> str | None:
    """Return the line with which one that is no message is answered; None for a message, and where nobody asked.

    Its id is the request's, or null where it has none to go by (JSON-RPC 2.0, section 5).

    >>> answer_to('{"jsonrpc": "2.0", "id": 1, "method": "ping"}')
    >>> print(answer_to('{"jsonrpc": "1.0", "id": 1, "method": "ping"}'))  # doctest: +ELLIPSIS
    {"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"...
    """
    if not line.strip():
        return None
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return _answer_to(line)
    # With an id that is none, such as null or 1.5, a request passes for a notification.
    is_request = isinstance(message, JSONRPCNotification) and '"id"' in line and "id" in json.loads(line)
    return _answer_to(line) if is_request else None


def answer_to_too_long() -> str:
    """Return the line with which a message is answered that has more than `LONGEST` bytes, and was not read."""
    return _error(None, INVALID_REQUEST, f"a message may have {size(LONGEST)} at most; this one was passed over")


def _answer_to(line: str) -> str | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _error(None, PARSE_ERROR, f"a message is one line of JSON, and this is none: {error}"[:500])
    if isinstance(message, list):
        return _error(None, INVALID_REQUEST, "MCP has no batches of messages (since 2025-06-18): send each in a line")
    if not isinstance(message, dict):
        return _error(None, INVALID_REQUEST, "a message is a JSON object")
    if "method" not in message and ("result" in message or "error" in message):
        return None  # an answer is never answered: the two sides could go on for ever
    return _error(_id_of(message), INVALID_REQUEST, _mistake_in(message))


def _mistake_in(message: dict[str, Any]) -> str:
    half = _half_a_character(message)
    if half is not None:
        return f"half a character (U+{half:04X}, a lone surrogate) is no text: send whole ones"
    return (
        'this is no message of JSON-RPC: it needs "jsonrpc": "2.0", a "method" that is text, "params" that are an '
        'object, and, to be answered, an "id" that is text or a whole number'
    )


def _id_of(message: dict[str, Any]) -> int | str | None:
    """Return the id that an answer can bear."""
    known = message.get("id")
    if isinstance(known, bool) or not isinstance(known, (int, str)) or _half_a_character(known) is not None:
        return None
    return known


def _half_a_character(value: Any) -> int | None:
    """Return the first half of a surrogate pair that stands alone in it. JSON can spell it, Unicode text has none."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return ord(error.object[error.start])
    except RecursionError:  # nested as deep as could just be read
        return None
    return None


def _error(number: int | str | None, code: int, message: str) -> str:
    error = ErrorData(code=code, message=message.encode("utf-8", "backslashreplace").decode())
    return JSONRPCError(jsonrpc="2.0", id=number, error=error).model_dump_json(by_alias=True, exclude_unset=True)
