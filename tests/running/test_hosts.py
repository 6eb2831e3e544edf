"""Processes that have met, here in one: what each learns of the end of the other."""

import socket
import threading
from functools import partial

import pytest

from experiments.running import (
    checkpoints,
    distributed,
    hosts,
    meeting,
    run_directory,
    shared_folder,
)
from experiments.running.cli import Failed, InputError, Interrupted
from experiments.running.config import RunConfig
from experiments.running.hosts import Hosts

LOST = "process {} of this run has ended or cannot be reached anymore"


@pytest.fixture
def pair(monkeypatch):
    """Process 0 and process 1, which are told apart by what they leave."""
    monkeypatch.setattr(hosts, "_GRACE", 600.0)  # after which they would end by os._exit
    ends = socket.socketpair()
    both = [Hosts(index, {1 - index: ends[index]}, "program", 2) for index in range(2)]
    for process in both:
        process.leave = lambda index=process.index: f"; left by {index}"
    yield both
    for process, end in zip(both, ends, strict=True):
        process._is_over = True
        process._is_ending.set()
        vanish(end)


def vanish(end):
    """Close a connection as the end of its process does."""
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed
    end.close()


def connection_of(process):
    (connection,) = process._connections.values()
    return connection


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("has_begun", "status"), [(False, 2), (True, 1)])
def test_the_loss_of_a_process_ends_the_other(pair, index, has_begun, status):
    for process in pair if has_begun else ():
        process.begin()
    vanish(connection_of(pair[1 - index]))
    with pytest.raises(Failed, match=f"^{LOST.format(1 - index)}; left by {index}$") as caught:
        pair[index].raise_failure(60)
    assert caught.value.status == status


def test_process_0_decides_nothing_after_a_failure(pair):
    """So it does not begin to write a run that the other one has left."""
    pair[1].fail("no space left", 1)
    pair[0]._is_failing.wait(60)
    with pytest.raises(Failed, match="^process 1: no space left; left by 0$"):
        pair[0].share(lambda: pytest.fail("it was decided"))


@pytest.mark.parametrize(
    ("error", "told", "status"),
    [
        (Interrupted("interrupted by SIGTERM, state saved; left by 1", 143), "interrupted by", 143),
        (KeyboardInterrupt(), "interrupted", 130),
        (InputError("--seed must be 0 or more"), "--seed must be 0 or more", 2),
        (OSError("no space left; left by 1"), "no space left", 1),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero", 1),
    ],
)
def test_a_failure_is_told_with_what_the_other_one_leaves(pair, error, told, status):
    with pytest.raises(type(error)) as raised:
        distributed._end(pair[1], error)
    assert raised.value is error
    with pytest.raises(Failed, match=f"^process 1: {told}") as caught:
        pair[0].raise_failure(60)
    assert str(caught.value).count("; left by") == 1 and str(caught.value).endswith("by 0")
    assert caught.value.status == status


@pytest.mark.parametrize("error", [RuntimeError("Gloo: closed"), ValueError("INTERNAL: closed")])
def test_an_error_of_jax_because_of_the_other_one_is_told_as_its_end(pair, error):
    threading.Timer(0.1, partial(vanish, connection_of(pair[1]))).start()
    with pytest.raises(Failed, match=LOST.format(1)):
        distributed._end(pair[0], error)


def test_both_end_together(pair):
    """Process 1 not before process 0 says so, and process 0 when the other has gone."""
    ended = threading.Event()
    waiting = threading.Thread(target=lambda: [pair[1].end(), ended.set()])
    waiting.start()
    assert not ended.wait(0.1)
    threading.Thread(target=lambda: [ended.wait(60), vanish(connection_of(pair[1]))]).start()
    pair[0].end()
    assert ended.is_set()
    assert not pair[0]._readers[0].is_alive(), "the other one has gone"
    pair[0].raise_failure(0)


def test_a_cluster_is_detected(monkeypatch):
    """By what JAX knows of SLURM, whose port depends on the number of the job."""
    monkeypatch.setenv("SLURM_JOB_ID", "4097")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[007-009]")
    monkeypatch.setenv("SLURM_NTASKS", "3")
    monkeypatch.setenv("SLURM_PROCID", "2")
    monkeypatch.setenv("SLURM_LOCALID", "0")
    seen = []

    def meet(*place, **_):
        seen.append((str(place[0]), *place[1:]))
        return Hosts()

    monkeypatch.setattr(meeting, "meet", meet)
    with distributed.together(RunConfig(distributed=True), "program"):
        pass
    assert seen == [("node007:61441", 3, 2)]


def test_a_checkpoint_whose_folder_a_process_does_not_see_is_not_written(tmp_path, monkeypatch):
    """Orbax would wait for it for minutes."""
    monkeypatch.setattr(shared_folder, "_LAG", 0.1)
    process = Hosts(1, count=2)
    monkeypatch.setattr(process, "share", lambda decide: "00000001.partial")
    with pytest.raises(OSError, match="checkpoint 1 could not be written: .*No such file"):
        checkpoints.save(tmp_path, (), {}, hosts=process)


def test_a_folder_that_one_process_does_not_see_is_refused(tmp_path, monkeypatch):
    hosts = Hosts(count=2)
    monkeypatch.setattr(hosts, "gather", lambda value: [value, False])
    wanted = "--out must be in a folder that all processes share, .* process 1 does not see"
    with pytest.raises(InputError, match=wanted):
        with run_directory.open_run(tmp_path / "run", None, "program", hosts):
            pytest.fail("it must not begin")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    ["", "h", "h:", ":1", ":-1", "h:-1", "h:abc", "h:0", "h:65536", "h:1.5", "h:1 ", "a b:1"]
    + ["::1:7700", "[::1]", "[::1]:", "[h]:1", "[1.2.3.4]:1", "http://h:1", "h/p:1", "h:\u0661"],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InputError, match="^--coordinator must be HOST:PORT, "):
        meeting.parse_address(text)


@pytest.mark.parametrize(
    "text", ["127.0.0.1:7700", "localhost:1", "[::1]:65535", "[fe80::1%eth0]:80", "a-b.c:8476"]
)
def test_addresses_are_read(text):
    assert str(meeting.parse_address(text)) == text
