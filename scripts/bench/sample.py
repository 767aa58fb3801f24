"""Take one sample: the process in which one contender answers one row. Run by `run.py`.

    sample.py ROW ENTRY FILE [--quick]      the places in the table, and where the reading goes, as JSON

What it imports by itself is next to nothing, since pools that spawn import it again in their workers.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    from every_row import ROWS
    from rows import Scale

    row, entry, path = sys.argv[1:4]
    reading = ROWS[int(row)].entries[int(entry)].sample(Scale(quick="--quick" in sys.argv))
    with open(path + ".part", "w") as file:
        json.dump([reading.figure, dict(reading.facts)], file)
    os.rename(path + ".part", path)


if __name__ == "__main__":
    main()
