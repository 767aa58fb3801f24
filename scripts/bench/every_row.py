"""All rows, in the order of the table."""

from __future__ import annotations

import rows_cli
import rows_discovery
import rows_faults
import rows_footprint
import rows_pipelines
import rows_scheduler
import rows_scripts
import rows_throughput
import rows_workflow

ROWS = tuple(
    sorted(
        rows_throughput.ROWS
        + rows_faults.ROWS
        + rows_scripts.ROWS
        + rows_footprint.ROWS
        + rows_workflow.ROWS
        + rows_cli.ROWS
        + rows_discovery.ROWS
        + rows_scheduler.ROWS
        + rows_pipelines.ROWS,
        key=lambda row: row.number,
    )
)
