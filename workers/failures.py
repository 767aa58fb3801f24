"""What an exception says, in plain values, however hostile it is.

Its text may raise, be endless, or be a circle of causes: what comes out is always bounded text. A worker tells
its driver so, and a workflow tells of what failed in its own process.
"""

from __future__ import annotations

import io
import traceback

from workers import wire


def text_of(error: BaseException) -> str:
    """Return what `str()` says of an exception, bounded."""
    try:
        return wire.cut(str(error))
    except BaseException:  # the user's __str__
        return "<its str() raises>"


def traceback_of(error: BaseException) -> str:
    """Return an exception's traceback as the interpreter prints it, bounded."""
    lines = io.StringIO()
    try:
        traceback.print_exception(error, file=lines)
    except BaseException:  # the user's __str__, or that of a cause
        lines.write(f"{wire.describe(error)}: <its traceback cannot be formatted>\n")
    return wire.cut(lines.getvalue())


def exit_code_of(error: BaseException) -> int | None:
    """Return the exit code that SystemExit means (sys.exit): None is 0, text is 1; None for other exceptions."""
    if not isinstance(error, SystemExit):
        return None
    code = error.code
    return code & 0xFF if isinstance(code, int) else int(code is not None)
