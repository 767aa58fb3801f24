"""Count the words of the files given, or of the scripts next to this one, and name the commonest."""

import re
import sys
from collections import Counter
from pathlib import Path


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or sorted(Path(__file__).parent.glob("*.py"))
    counts: Counter[str] = Counter()
    for path in paths:
        text = path.read_text(encoding="utf-8")
        words = re.findall(r"[^\W\d_]+", text.lower())
        counts.update(words)
        print(f"{len(words):7} {path.name}")
    print(f"{counts.total():7} in all, {len(counts)} of them different")
    print("commonest:", ", ".join(f"{word} ({count})" for word, count in counts.most_common(5)))


if __name__ == "__main__":
    main()
