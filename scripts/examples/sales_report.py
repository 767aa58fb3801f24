"""Report on a large table of sales with a workflow: split it, add the parts up in processes, merge, report.

One part fails at first and is tried again; the audit is skipped, because nothing looks wrong.
"""

import argparse
import csv
import random
import tempfile
from collections import Counter
from pathlib import Path

from orchestrator import RetryPolicy, Task, TaskResult, TaskStatus, Workflow, result_of

PARTS = 4
REGIONS = ("north", "east", "south", "west")


def generate(folder: Path, rows: int) -> Path:
    """Write a table of sales: region, product, amount in cents."""
    draw = random.Random(7)
    path = folder / "sales.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        for _ in range(rows):
            writer.writerow((draw.choice(REGIONS), f"product-{draw.randrange(50)}", draw.randrange(100, 10_000)))
    return path


def split(path: Path) -> list[Path]:
    """Cut the table into parts, line by line in turn."""
    parts = [path.with_name(f"part-{number}.csv") for number in range(PARTS)]
    files = [part.open("w") for part in parts]
    with path.open() as table:
        for number, line in enumerate(table):
            files[number % PARTS].write(line)
    for file in files:
        file.close()
    return parts


def add_up(parts: list[Path], number: int) -> Counter[str]:
    """Add up one part by region. The third is on a shelf that is locked at the first try."""
    lock = parts[number].with_suffix(".lock")
    if number == 2 and not lock.exists():
        lock.touch()
        raise BlockingIOError(f"{parts[number].name} is locked")
    cents: Counter[str] = Counter()
    with parts[number].open(newline="") as file:
        for region, _product, amount in csv.reader(file):
            cents[region] += int(amount)
    return cents


def merge(totals: list[Counter[str]]) -> Counter[str]:
    """Add the parts together."""
    return sum(totals, Counter())


def looks_wrong(results: dict[str, TaskResult]) -> bool:
    """Say whether one region has more than half of all sales."""
    cents = results["merge"].value
    return bool(max(cents.values()) > cents.total() / 2)


def audit(cents: Counter[str]) -> str:
    """Say what is to be looked at."""
    return f"look into {cents.most_common(1)[0][0]}"


def report(cents: Counter[str]) -> str:
    """Write the report."""
    return "\n".join(f"{region:6} {amount / 100:14,.2f}" for region, amount in cents.most_common())


def sales(folder: Path, rows: int) -> Workflow:
    """Make the workflow."""
    flow = Workflow("sales")
    flow.add_task(Task("generate", generate, args=[folder, rows], executor="process"))
    flow.add_task(Task("split", split, args=[result_of("generate")]))
    parts = [f"part {number}" for number in range(PARTS)]
    again = RetryPolicy(max_attempts=3, initial_delay=0.1, retry_on=(BlockingIOError,))
    for number, name in enumerate(parts):
        flow.add_task(Task(name, add_up, args=[result_of("split"), number], timeout=60, retry_policy=again))
    flow.add_task(Task("merge", merge, args=[[result_of(name) for name in parts]]))
    flow.add_task(Task("audit", audit, args=[result_of("merge")], condition=looks_wrong))
    flow.add_task(Task("report", report, args=[result_of("merge")]))
    return flow


def tell(name: str, status: TaskStatus, result: TaskResult | None) -> None:
    """Print each change as it happens."""
    why = (result.error or "").splitlines()[-1:] if result is not None else []
    print(f"{status.value:>10}  {name}", *why, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the table")
    parser.add_argument("--mermaid", action="store_true", help="print the graph as a Mermaid chart, and do nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        flow = sales(Path(folder), options.rows)
        if options.mermaid:
            print(flow.to_mermaid(), end="")
            return
        results = flow.run(tell)
    print()
    print(flow.summary())
    print(results["report"].unwrap())


if __name__ == "__main__":
    main()
