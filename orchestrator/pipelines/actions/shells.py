"""How the script of a step is run: by which shell, with which options, as GitHub has it."""

from __future__ import annotations

import shlex
import shutil
import sys

from orchestrator.pipelines.actions.keys import shell_verdict

_SHELLS = {
    "bash": "bash --noprofile --norc -eo pipefail {0}",
    "sh": "sh -e {0}",
    "python": "python {0}",
}


class JobError(Exception):
    """Something that a job or step says cannot be done; the message says what, and where it stands."""


def command_line(shell: str, script: str, path: str) -> list[str]:
    """Write a script to a new file, whose path begins so, and return what runs it in a shell; "" is the default one.

    Raises JobError for a shell that is none here, OSError for a file that cannot be written.
    """
    line = _SHELLS.get(shell, shell) or ("bash -e {0}" if shutil.which("bash") else "sh -e {0}")
    if shell and shell_verdict(shell) != "supported":
        raise JobError(f"the shell {shell!r} is not known here: bash, sh, python, or a line with {{0}} in it")
    path += ".py" if shell == "python" else ".sh"
    with open(path, "x", encoding="utf-8", errors="replace") as file:
        file.write(script)
    try:
        words = [word.replace("{0}", path) for word in shlex.split(line)]
    except ValueError as error:
        raise JobError(f"the shell {shell!r} cannot be read: {error}") from None
    if not words[0]:
        raise JobError(f"the shell {shell!r} names no program")
    if words[0] == "python" and not shutil.which("python"):
        words[0] = sys.executable
    return words
