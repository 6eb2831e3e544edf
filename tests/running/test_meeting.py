"""The processes of a distributed run meet, agree and end together, or not at all; without JAX."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from distributed_runs import SECONDS, free_port

from experiments.running import meeting
from experiments.running.cli import InputError

PROCESS = """
import json, sys, time
from experiments.running import agreement, cli, config, distributed

coordinator, processes, process_id, seconds, facts, then = sys.argv[1:]

def main(_):
    given = config.RunConfig(
        distributed=True,
        coordinator=coordinator,
        processes=int(processes),
        process_id=int(process_id),
        connect_timeout=float(seconds),
    )
    config.check(given)
    with distributed.together(given, "program") as hosts:
        print("met", file=sys.stderr, flush=True)
        if then == "sleep":
            time.sleep(100)
        if then == "fail":
            raise cli.InputError("--data-dir must be readable")
        if then == "break":
            raise OSError("no space left")
        agreement.require_same(hosts, json.loads(facts))
        assert hosts.share(lambda: [hosts.index]) == [0]
        every = hosts.gather(hosts.index)
        assert every == ([] if hosts.index else [*range(hosts.count)])
        print("agreed")

raise SystemExit(distributed.exit_status(lambda: cli.run_main(main, "program")))
"""


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def start(port):
    """A function that starts a process."""
    started = []

    def one(index, count=2, seconds=60, facts=None, then="", host="127.0.0.1"):
        words = [f"{host}:{port}", count, index, seconds, json.dumps(facts or {}), then]
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, *map(str, words)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield one
    for process in started:
        process.kill()
        process.communicate()


def ends(process):
    """The exit status, standard output and lines of errors of a process."""
    output, errors = process.communicate(timeout=SECONDS)
    assert "Traceback" not in errors
    return process.returncode, output, [line for line in errors.splitlines() if not waits(line)]


def waits(line):
    """Whether the line says what a process waits for, as it does where the machine is slow."""
    return "waiting up to" in line


def refused(process, text, status=2):
    """Whether the process has ended with one sentence that has the text in it."""
    found, output, errors = ends(process)
    errors = [line for line in errors if line != "met"]
    assert (found, output, len(errors)) == (status, "", 1), (found, output, errors)
    assert errors[0].startswith("program: error: ") and text in errors[0], errors
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_processes_meet_and_agree(start, host):
    facts = {"--seed": "0"}
    processes = [start(index, 3, facts=facts, host=host) for index in (2, 0, 1)]
    assert [ends(process) for process in processes] == [
        (0, "agreed\n" if index == 0 else "", ["met"]) for index in (2, 0, 1)
    ]


def test_a_difference_is_named_by_all(start):
    facts = [{"jax": "1", "--seed": "0"}, {"jax": "1", "--seed": "0"}, {"jax": "1", "--seed": "1"}]
    processes = [start(index, 3, facts=facts[index]) for index in range(3)]
    text = "--seed must be the same in all processes, not 0 in process 0 and 1 in process 2"
    assert all(refused(process, f"error: {text}") for process in processes)


def test_processes_that_lack_a_fact_differ(start):
    processes = [start(0, facts={"jax": "1"}), start(1)]
    assert all(refused(process, "jax must be the same") for process in processes)


def test_an_index_that_two_have_is_refused(start):
    processes = [start(index, 3) for index in (0, 1, 1)]
    assert all(refused(process, "--process-id must be another one") for process in processes)


def test_numbers_of_processes_that_differ_are_refused(start):
    processes = [start(0, 2), start(1, 3)]
    assert all(refused(process, "--processes must be the same") for process in processes)


def test_who_does_not_come_is_named_within_the_time(start):
    second = start(2, 4, seconds=SECONDS)
    assert "for process 0 at 127.0.0.1:" in second.stderr.readline(), "it has begun to wait"
    first = start(0, 4, seconds=3)
    assert refused(first, "error: --processes must be the number of processes that are started")
    assert refused(second, "not 4: processes 1 3 did not come within 3 s (--connect-timeout)")


def test_a_process_does_not_meet_itself(port, monkeypatch):
    """Where no process listens at a port, the system can connect a socket with itself."""
    met = []

    def connect(address, timeout):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind(address)
        connection.connect(address)
        met.append(connection)
        return connection

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(InputError, match="which did not answer within 0.1 s"):
        meeting.meet(
            meeting.Address("127.0.0.1", port), 2, 1, seconds=0.1, program="program", quiet=True
        )
    assert met and all(connection.fileno() == -1 for connection in met), "and it is closed"


def test_a_coordinator_that_does_not_answer_is_refused_within_the_time(start, port):
    assert refused(start(1, seconds=1), f"not 127.0.0.1:{port}, which did not answer within 1 s")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"{}\n", b"\0\0\x12\4"])
def test_another_program_at_the_port_is_refused(start, port, answer):
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(SECONDS)
        assert refused(
            start(0), f"must be an address at which process 0 can listen, not 127.0.0.1:{port}"
        )
        process = start(1)
        connection, _ = server.accept()
        with connection:
            connection.sendall(answer)
            # The process may have read enough and gone by now.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            assert refused(process, "where another program or a run that has begun answers")


def reach(port):
    """A connection to process 0, as soon as it listens."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_strangers_do_not_disturb(start, port):
    first = start(0)
    for message in (b"", b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b'{"protocol": "gajax 0"}\n'):
        with reach(port) as stranger:
            stranger.sendall(message)
    assert ends(start(1))[0] == ends(first)[0] == 0


def met(process):
    lines = iter(process.stderr.readline, "")
    assert next(line for line in lines if not waits(line)) == "met\n"


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_ends_the_others(start, victim):
    """Those that wait for it, and those that do something else."""
    processes = [start(index, 3, then="sleep" if index < 2 else "") for index in range(3)]
    for process in processes:
        met(process)
    processes[victim].send_signal(signal.SIGKILL)
    for process in {*processes} - {processes[victim]}:
        assert refused(process, f"process {victim} of this run has ended or cannot be reached")


def test_a_process_that_ends_while_others_are_waited_for_ends_them(start, port):
    first = start(0, 3)
    with reach(port) as second:
        second.sendall(b'{"protocol": "gajax 1", "index": 2, "count": 3}\n')
        assert second.recv(100) == b'{"protocol": "gajax 1"}\n'
    assert refused(first, "process 2 has ended while the others came together")


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("then", "text", "status"),
    [("fail", "--data-dir must be readable", 2), ("break", "no space left", 1)],
)
def test_a_mistake_that_one_process_sees_ends_all(start, index, then, text, status):
    other = start(1 - index)
    assert refused(start(index, then=then), f"error: {text}", status)
    assert refused(other, f"error: process {index}: {text}", status)


def test_an_interruption_of_one_process_ends_all(start):
    processes = [start(0, then="sleep"), start(1, then="sleep")]
    for process in processes:
        met(process)
    processes[1].send_signal(signal.SIGINT)
    assert ends(processes[1]) == (130, "", ["program: interrupted"])
    assert refused(processes[0], "error: process 1: interrupted", 130)
