"""Serve one client over standard input and output, until it leaves or a signal comes. Called by `orchestrator mcp`."""

from __future__ import annotations

import asyncio
import signal
from typing import Any, cast

from mcp.server.stdio import stdio_server

from orchestrator.mcp_tools.ceilings import Ceilings
from orchestrator.mcp_tools.root import Root
from orchestrator.mcp_tools.server import make_server
from orchestrator.mcp_tools.wire import Wire, private_standard_streams

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(root: Root, ceilings: Ceilings) -> int:
    """Serve, and return the exit code: 0 when the client has left, 128 + n for signal n. Main thread only.

    Either way all runs are stopped first. Raises OSError when standard input or output is closed.
    """
    with private_standard_streams() as (source, sink):
        return asyncio.run(_serve(root, ceilings, source, sink))


async def _serve(root: Root, ceilings: Ceilings, source: int, sink: int) -> int:
    server = make_server(root, ceilings)
    wire = Wire(source, sink)
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        wire.end()  # from here on it is as if the client had left

    loop = asyncio.get_running_loop()
    for number in _STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` and `&` want it so
            loop.add_signal_handler(number, stop, number)
    files = cast(Any, wire)  # they are called files of anyio, but only read by line, written and flushed
    try:
        async with stdio_server(files, files) as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
    finally:
        wire.close()
    return 128 + received[0] if received else 0
