"""What tasks write, as agents read it: page by page, while it comes, and of a flood its ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.mcp_tools.kept import Kept
from orchestrator.mcp_tools.pages import SMALLEST, page_of
from tests.mcp.agent import Agent, with_agent, write_scripts


def test_what_a_script_writes_can_be_read_while_it_runs(tmp_path: Path) -> None:
    slow = """
import os, time
print("so far", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
"""
    write_scripts(tmp_path, slow=slow)

    async def work(agent: Agent) -> None:
        run_id = await agent.batch("slow.py")
        async with asyncio.timeout(20):
            while not (page := await agent.call("get_output", run_id=run_id, task=0))["text"]:
                await asyncio.sleep(0.01)
        assert (page["text"], page["complete"]) == ("so far\n", False)
        running = await agent.call("get_run", run_id=run_id, which="running")
        assert (running["state"], running["counts"], len(running["tasks"])) == ("running", {"running": 1}, 1)
        (tmp_path / "go").touch()
        await agent.ended(run_id)
        page = await agent.call("get_output", run_id=run_id, task=0)
        assert (page["text"], page["complete"]) == ("so far\n", True)

    with_agent(tmp_path, work)


def test_a_flood_is_kept_by_its_ends_and_costs_no_memory(tmp_path: Path) -> None:
    import resource

    write_scripts(
        tmp_path, flood="import sys\nfor _ in range(1024): sys.stdout.write('x' * (1 << 20))\nprint('the end')\n"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def work(agent: Agent) -> None:
        begun = await agent.call("start_batch", scripts=["flood.py"])
        report = await agent.ended(begun["run_id"])
        kept = report["tasks"][0]["stdout_bytes"]
        assert report["state"] == "finished"
        assert begun["output_limit"] <= kept <= begun["output_limit"] + 100
        tail = await agent.call("get_output", run_id=begun["run_id"], task=0, offset=kept - 20)
        assert tail["text"] == "x" * 12 + "the end\n"
        assert "bytes of output cut" in await agent.output(begun["run_id"])

    with_agent(tmp_path, work)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 256 << 20


def test_the_end_of_a_flood_can_be_read_while_it_comes(tmp_path: Path) -> None:
    flood = """
import os, sys, time
def wait(name):
    while not os.path.exists(name):
        time.sleep(0.01)
print("the beginning", flush=True)
wait("on")
sys.stdout.write("x" * (3 << 20) + "\\nso far\\n")
sys.stdout.flush()
wait("go")
print("the end")
"""
    write_scripts(tmp_path, flood=flood)

    async def work(agent: Agent) -> None:
        run_id = await agent.batch("flood.py")

        async def read_until(end: str) -> str:
            async with asyncio.timeout(40):
                while not (text := await agent.output(run_id, limit=100_000)).endswith(end):
                    await asyncio.sleep(0.01)
            return text

        assert await read_until("beginning\n") == "the beginning\n"
        (tmp_path / "on").touch()
        now = await read_until("so far\n")
        report = await agent.call("get_run", run_id=run_id)
        assert (report["state"], report["tasks"][0]["stdout_bytes"]) == ("running", len(now))
        (tmp_path / "go").touch()
        await agent.ended(run_id)
        after = await agent.output(run_id, limit=100_000)
        for text in (now, after):
            assert text.startswith("the beginning\n")
            assert "bytes of output cut ...]\nx" in text
            assert 1_000_000 <= len(text) <= 1_000_100
        assert after.endswith("so far\nthe end\n")

    with_agent(tmp_path, work)


@given(st.lists(st.binary(max_size=30)), st.integers(1, 40))
def test_of_what_comes_bit_by_bit_the_beginning_and_the_end_are_kept(parts: list[bytes], limit: int) -> None:
    kept, whole = Kept(limit), b"".join(parts)
    for part in parts:
        kept.add(part)
    assert len(bytes(kept)) == len(kept) <= limit + 100
    if len(whole) <= limit:
        assert bytes(kept) == whole
    else:
        half = max(1, limit // 2)
        cut = b"\n[... %d bytes of output cut ...]\n" % (len(whole) - 2 * half)
        assert bytes(kept) == whole[:half] + cut + whole[-half:]


def test_bytes_that_are_no_text_are_replaced_and_no_character_is_split(tmp_path: Path) -> None:
    write_scripts(tmp_path, raw="import sys; sys.stdout.buffer.write('añ→😀'.encode() * 20 + b'\\xff\\xfe\\x80 end')")

    async def work(agent: Agent) -> None:
        run_id = (await agent.run("raw.py"))["run_id"]
        assert await agent.output(run_id, limit=17) == "añ→😀" * 20 + "\ufffd\ufffd\ufffd end"
        beyond = await agent.call("get_output", run_id=run_id, task=0, offset=10**9)
        assert (beyond["text"], beyond["offset"], beyond["next_offset"]) == ("", beyond["total"], None)
        assert "has no task 1" in await agent.refusal("get_output", run_id=run_id, task=1)

    with_agent(tmp_path, work)


@given(text=st.text(), junk=st.binary(), limit=st.integers(1, 40), start=st.integers(0, 100))
def test_pages_put_together_are_the_whole_wherever_they_are_cut(text: str, junk: bytes, limit: int, start: int) -> None:
    data = text.encode() + junk + text.encode()
    pages, offset = [], 0
    while True:
        page = page_of(data, offset, limit)
        assert page.offset == offset
        pages.append(page.text)
        if page.next_offset is None:
            break
        assert offset < page.next_offset <= offset + max(limit, SMALLEST)
        offset = page.next_offset
    if not junk:
        assert "".join(pages) == text + text
        assert page_of(data, start, len(data)).text in text + text
    assert sum(map(len, pages)) >= 2 * len(text)
    assert page_of(data, start, limit).offset <= min(start, len(data))


def test_an_offset_within_a_character_means_its_beginning() -> None:
    data = "a😀b".encode()
    assert [page_of(data, offset, 16).offset for offset in range(len(data) + 2)] == [0, 1, 1, 1, 1, 5, 6, 6]
