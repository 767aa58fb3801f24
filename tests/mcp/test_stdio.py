"""The server as a child over standard streams: what reaches the client, and what is left when one of the two goes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.mcp_tools.lines import LONGEST
from tests.mcp.agent import FAMILY, SECONDS, Agent, child_agent, pids_in
from tests.waiting import eventually, is_alive, lines_of, wait_gone

_ROOT = Path(__file__).parents[2]


def _script(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text, encoding="utf-8")


class _Server:
    """`orchestrator mcp` in a folder, spoken to line by line."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._ids = 0
        self.log = open(folder / "stderr.txt", "w+b")  # noqa: SIM115 (as long as the server)
        command = [sys.executable, "-m", "orchestrator", "mcp", "--root", str(folder), *options]
        env = {**os.environ, "PYTHONPATH": str(_ROOT)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=env, bufsize=0
        )
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        assert self.ask("initialize", hello)["serverInfo"]["name"] == "orchestrator"
        self.say({"method": "notifications/initialized"})

    def say(self, message: dict[str, Any]) -> None:
        """Send a message."""
        self.raw(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def raw(self, data: bytes) -> None:
        """Send bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its result; every line that comes before it must be a message too."""
        self._ids += 1
        self.say({"id": self._ids, "method": method, "params": params})
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            message = json.loads(line)
            if message.get("id") == self._ids:
                assert "result" in message, message
                result = message["result"]
                assert isinstance(result, dict)
                return result
        raise AssertionError("the server has ended")

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool that answers."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        assert not result.get("isError"), result
        answer = result["structuredContent"]
        assert isinstance(answer, dict)
        return answer

    def leave(self) -> None:
        """Close standard input, as a client does that has finished."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def close(self) -> None:
        """Let go of it, whatever its state."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            if stream is not None:
                stream.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    """Serve the test's folder."""
    server = _Server(tmp_path, "--jobs", "2")
    yield server
    server.close()


def _start_family(server: _Server, folder: Path) -> list[int]:
    _script(folder, "family", FAMILY)
    server.call("start_batch", scripts=[["family.py", "pids"]])
    return [int(line) for line in eventually(lambda: lines_of(folder / "pids"), SECONDS)]


def test_an_agent_over_standard_streams_runs_scripts_that_print_wherever_they_can(tmp_path: Path) -> None:
    talker = """
import os, subprocess, sys
print("from the script", flush=True)
print("aside", file=sys.stderr, flush=True)
os.write(1, b"raw\\n")
late = "import os, time\\nfor _ in range(100):\\n  os.write(1, b'late'); os.write(2, b'late'); time.sleep(0.01)"
subprocess.Popen([sys.executable, "-c", late])
assert sys.stdin.read() == ""
"""
    _script(tmp_path, "talker", talker)

    async def main() -> None:
        async with child_agent(tmp_path, "--jobs", "2") as agent:
            found = await agent.call("discover_scripts")
            assert [script["path"] for script in found["scripts"]] == ["talker.py"]
            report = await agent.run("talker.py", "talker.py", "talker.py")
            assert report["state"] == "finished"
            assert (await agent.output(report["run_id"], 2)).startswith("from the script\nraw\n")
            assert (await agent.output(report["run_id"], 2, "stderr")).startswith("aside\n")
            assert "outside of the root" in await agent.refusal("start_batch", scripts=["/etc/hostname"])

    asyncio.run(main())
    assert (tmp_path / "stderr.txt").read_text() == ""


def test_nobody_but_the_server_has_the_clients_streams(server: _Server, tmp_path: Path) -> None:
    _start_family(server, tmp_path)
    private = {os.readlink(f"/proc/{os.getpid()}/fd/{stream.fileno()}") for stream in _pipes(server)}
    assert len(private) == 2
    assert private <= _links(server.process.pid)
    own = Path(f"/proc/{server.process.pid}")
    for descriptor in os.listdir(own / "fd"):
        if os.readlink(own / "fd" / descriptor) in private:
            (flags,) = re.findall(r"flags:\t(\d+)", (own / "fdinfo" / descriptor).read_text())
            assert int(flags, 8) & os.O_CLOEXEC
    others = psutil.Process(server.process.pid).children(recursive=True)
    assert len(others) >= 3  # the guardian, the script, its child
    for process in others:
        assert not private & _links(process.pid), process
    for number, link in ((0, os.devnull), (1, str(tmp_path / "stderr.txt"))):
        assert os.readlink(f"/proc/{server.process.pid}/fd/{number}") == link


def _pipes(server: _Server) -> list[Any]:
    return [server.process.stdin, server.process.stdout]


def _unread(pipe: Any) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def _links(pid: int) -> set[str]:
    folder = f"/proc/{pid}/fd"
    return {os.readlink(f"{folder}/{number}") for number in os.listdir(folder)}


def test_what_is_no_message_does_not_end_the_conversation(server: _Server) -> None:
    server.raw(b"this is no JSON\n\xff\xfe\x00\n\n[]\n" + b"x" * 200_000 + b"\n{}\n")
    assert server.call("get_scheduler_metrics")["active_jobs"] == 0
    server.leave()
    assert server.process.wait(SECONDS) == 0


_PING = '"jsonrpc": "2.0", "method": "ping"'


NO_MESSAGES: list[tuple[str, Any, int, str]] = [
    ("this is no JSON", None, -32700, "a message is one line of JSON"),
    ("[" * 100_000, None, -32700, "a message is one line of JSON"),
    (f'[{{{_PING}, "id": 7}}]', None, -32600, "no batches"),
    ("7", None, -32600, "a JSON object"),
    ("{}", None, -32600, "no message of JSON-RPC"),
    ('{"id": 7, "method": "ping"}', 7, -32600, 'needs "jsonrpc": "2.0"'),
    (f'{{{_PING}, "id": null}}', None, -32600, "text or a whole number"),
    (f'{{{_PING}, "id": 1.5}}', None, -32600, "text or a whole number"),
    (f'{{{_PING}, "id": "seven", "params": {{"_meta": "\\ud83d"}}}}', "seven", -32600, "half a character (U+D83D"),
    (f'{{{_PING}, "id": "\\udc80"}}', None, -32600, "half a character (U+DC80"),
]


def test_a_request_in_a_line_that_is_no_message_is_answered(server: _Server) -> None:
    assert server.process.stdout is not None
    for line, number, code, says in NO_MESSAGES:
        server.raw(line.encode() + b"\n")
        answer = json.loads(server.process.stdout.readline())
        assert (answer["jsonrpc"], answer["id"], answer["error"]["code"]) == ("2.0", number, code), line[:80]
        assert says in answer["error"]["message"]


def test_what_is_an_answer_is_never_answered(server: _Server) -> None:
    for line in ('{"id": 7, "result": {}}', '{"error": "\\ud800"}', "", " ", f"{{{_PING}}}"):
        server.raw(line.encode() + b"\n")
    server.say({"id": "last", "method": "ping"})
    assert server.process.stdout is not None
    assert json.loads(server.process.stdout.readline())["id"] == "last"


def test_answers_to_what_is_no_message_come_between_the_others_whole(server: _Server) -> None:
    def talk() -> None:
        for number in range(60):
            server.raw(b'{"id": "%s", "method": "ping"}\n' % (b"x" * 20_000))
            server.say({"id": number, "method": "tools/list"})

    assert server.process.stdout is not None
    with ThreadPoolExecutor(1) as thread:
        talking = thread.submit(talk)
        answers = [json.loads(server.process.stdout.readline()) for _ in range(120)]
        talking.result()
    assert sum("error" in answer for answer in answers) == 60
    assert sorted(answer["id"] for answer in answers if "result" in answer) == list(range(60))


def test_a_message_without_an_end_is_passed_over_and_costs_no_memory(server: _Server) -> None:
    before = psutil.Process(server.process.pid).memory_info().rss
    for _ in range(LONGEST // (1 << 20) + 100):
        server.raw(b"x" * (1 << 20))
    assert psutil.Process(server.process.pid).memory_info().rss - before < 2 * LONGEST
    server.raw(b"\n")
    assert server.process.stdout is not None
    answer = json.loads(server.process.stdout.readline())
    assert (answer["id"], "64 MB at most" in answer["error"]["message"]) == (None, True)
    assert server.call("get_scheduler_metrics")["active_jobs"] == 0


def test_a_message_may_come_in_pieces_and_be_long(server: _Server) -> None:
    tasks = [{"id": f"task-{number:06}"} for number in range(20_000)]
    call = {"name": "analyze_workflow_dependencies", "arguments": {"tasks": tasks}}
    data = json.dumps({"jsonrpc": "2.0", "id": "long", "method": "tools/call", "params": call}).encode()
    for start in range(0, len(data), 10_007):
        server.raw(data[start : start + 10_007])
    server.raw(b"\n")
    assert server.process.stdout is not None
    answer = json.loads(server.process.stdout.readline())
    assert (answer["id"], len(answer["result"]["structuredContent"]["execution_order"])) == ("long", 20_000)


def test_when_the_client_closes_its_end_the_runs_are_stopped_and_the_server_ends_well(
    server: _Server, tmp_path: Path
) -> None:
    pids = _start_family(server, tmp_path)
    server.leave()
    assert server.process.wait(SECONDS) == 0
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_the_runs_and_is_the_exit_code(server: _Server, tmp_path: Path, number: signal.Signals) -> None:
    pids = _start_family(server, tmp_path)
    server.process.send_signal(number)
    assert server.process.wait(SECONDS) == 128 + number
    assert not any(is_alive(pid) for pid in pids)


def test_a_server_that_is_killed_leaves_no_process(server: _Server, tmp_path: Path) -> None:
    pids = _start_family(server, tmp_path)
    server.process.kill()
    server.process.wait(SECONDS)
    for pid in pids:
        wait_gone(pid)


def test_a_client_that_does_not_read_does_not_keep_the_server(server: _Server, tmp_path: Path) -> None:
    pids = _start_family(server, tmp_path)
    for number in range(200):  # each answer is some kilobytes, a pipe holds 64
        server.say({"id": f"unread {number}", "method": "tools/list"})
    assert server.process.stdout is not None
    eventually(lambda: _unread(server.process.stdout) > 40_000, SECONDS, "a pipe that is nearly full")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(SECONDS) == 143
    assert not any(is_alive(pid) for pid in pids)


def test_a_client_that_leaves_without_having_read_does_not_keep_the_server(server: _Server, tmp_path: Path) -> None:
    pids = _start_family(server, tmp_path)
    for number in range(200):
        server.say({"id": f"unread {number}", "method": "tools/list"})
    eventually(lambda: _unread(server.process.stdout) > 40_000, SECONDS, "a pipe that is nearly full")
    server.leave()
    assert server.process.wait(SECONDS) == 0
    assert not any(is_alive(pid) for pid in pids)


def test_a_client_that_has_closed_what_it_reads_is_one_that_has_left(server: _Server, tmp_path: Path) -> None:
    pids = _start_family(server, tmp_path)
    assert server.process.stdout is not None
    server.process.stdout.close()
    server.say({"id": "last", "method": "tools/list"})
    assert server.process.wait(SECONDS) == 0
    assert not any(is_alive(pid) for pid in pids)


_CLIENT = """
import asyncio, os, sys
from pathlib import Path
from tests.mcp.agent import child_agent

async def main():
    async with child_agent(Path(sys.argv[1])) as agent:
        await agent.batch(["family.py", "pids"])
        await asyncio.sleep(600)

asyncio.run(main())
"""


def test_the_runs_of_a_client_that_is_killed_are_stopped(tmp_path: Path) -> None:
    _script(tmp_path, "family", FAMILY)
    client = subprocess.Popen([sys.executable, "-c", _CLIENT, str(tmp_path)], cwd=_ROOT)
    try:
        pids = [int(line) for line in eventually(lambda: lines_of(tmp_path / "pids"), SECONDS)]
        (server,) = psutil.Process(client.pid).children()
    finally:
        client.kill()
        client.wait()
    for pid in [server.pid, *pids]:
        wait_gone(pid)


def test_an_agent_that_leaves_mid_run_leaves_nothing(tmp_path: Path) -> None:
    _script(tmp_path, "family", FAMILY)

    async def main() -> list[int]:
        async with child_agent(tmp_path) as agent:
            await agent.batch(["family.py", "pids"])
            return await pids_in(tmp_path / "pids")

    for pid in asyncio.run(main()):
        wait_gone(pid, 5)


def test_a_long_question_keeps_nobody_waiting(tmp_path: Path) -> None:
    _script(tmp_path, "family", FAMILY)

    async def main() -> None:
        async with child_agent(tmp_path) as agent:
            run_id = await agent.batch(["family.py", "pids"])
            waiting = asyncio.create_task(agent.ended(run_id))
            await pids_in(tmp_path / "pids")
            assert (await Agent(agent.client).call("get_run", run_id=run_id))["state"] == "running"
            assert not waiting.done()
            await agent.call("cancel_run", run_id=run_id)
            assert (await waiting)["state"] == "cancelled"

    asyncio.run(main())
