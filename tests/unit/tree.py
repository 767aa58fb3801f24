"""Files on which discovery is tested."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from orchestrator.discovery import find_scripts


def write(root: Path, *paths: str, text: str = "", mode: int = 0o644) -> None:
    """Write files with the same text, and the folders they lie in."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)


def found(root: Path, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> list[str]:
    """Return the scripts that are found, as paths below the root."""
    return [os.path.relpath(path, root) for path in find_scripts(root, include, exclude)]


def git(root: Path, *arguments: str) -> bytes:
    """Run git, undisturbed by the user's own configuration, and return what it says."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "XDG_CONFIG_HOME": os.devnull}
    return subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, check=True).stdout
