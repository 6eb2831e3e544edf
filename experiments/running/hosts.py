"""Messages between the processes of a distributed run, beside those of JAX.

JAX aborts processes that do not come together, and ends those of a run without a reason when one
of them fails. So they meet here first, over TCP at the address of the coordinator, and keep the
connection: process 0 shares its decisions, every process tells of its end, and a connection that
breaks ends the others. Messages are lines of JSON.
"""

import json
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn, TypeVar

from experiments.running.cli import Failed, printable

Value = TypeVar("Value")

_GRACE = 3.0
"""Seconds in which the main thread may end by itself after a failure elsewhere."""
_PARTING = 10.0
"""Seconds for which process 0, the last one to end, waits for the others."""
_LOST = "of this run has ended or cannot be reached anymore"
_FAILURE = object()
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A host that vanishes without closing its connections is noticed after 25 seconds."""


class Address(NamedTuple):
    """The address of process 0."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only processes of the same machine reach it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


NOWHERE = Address("localhost", 0)


class Hosts:
    """This process and its connections to the others; without any, a process on its own.

    Attributes:
      index: of this process, from 0.
      count: number of processes.
      address: of process 0, at which they have met.
      stop: the number of a signal that another process has received, if any.
      leave: called where this process ends early; what its sentence ends in.
    """

    def __init__(
        self,
        index: int = 0,
        connections: Mapping[int, socket.socket] | None = None,
        program: str = "",
        count: int = 1,
        address: Address = NOWHERE,
    ) -> None:
        self.index, self.count, self.address = index, count, address
        self.stop: int | None = None
        self.leave: Callable[[], str] = str
        self._program = program
        self._connections = dict(connections or {})
        self._received = {peer: queue.SimpleQueue() for peer in self._connections}
        self._sending, self._failing, self._reporting = (threading.Lock() for _ in range(3))
        self._failure: Failed | None = None
        self._is_failing, self._is_ending = threading.Event(), threading.Event()
        self._has_begun = self._is_over = False
        self._readers = [
            threading.Thread(target=self._read, args=item, daemon=True)
            for item in self._connections.items()
        ]
        for reader in self._readers:
            reader.start()

    @property
    def reports(self) -> bool:
        """Whether this is the process that writes the results."""
        return self.index == 0

    def begin(self) -> None:
        """Wait for process 0, which has written what a run is resumed from."""
        self.share(lambda: None)
        self._has_begun = True

    def share(self, decide: Callable[[], Value]) -> Value:
        """The value of `decide()` in process 0, serialisable as JSON, in all processes."""
        if self.index:
            return self._receive(0)
        self.raise_failure(0)
        value = decide()
        self._send({"value": value})
        return value

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes in process 0; an empty list in the others."""
        if self.index:
            self._send({"value": value})
            return []
        return [value, *(self._receive(peer) for peer in sorted(self._connections))]

    def tell_stop(self, number: int) -> None:
        """Tell process 0 that this one has received a signal that ends the run."""
        self._send({"stop": number})

    def raise_failure(self, seconds: float) -> None:
        """Raise Failed if another process has failed, or does so within the time."""
        if self._connections and self._is_failing.wait(seconds):
            assert self._failure is not None
            self._is_ending.set()
            raise Failed(f"{self._failure}{self.leave()}", self._failure.status) from None

    def end(self) -> None:
        """End in all processes; process 0 returns when the others have gone, if they do soon."""
        if self.index:
            if not self._is_over:
                self._receive(0)
        else:
            self._is_ending.set()
            self._is_over = True
            self._send({"end": True})
            self._part()

    def fail(self, text: str, status: int) -> None:
        """Let the other processes end, because this one does, with that text and exit status."""
        self._is_ending.set()
        if self._failure is None:
            self._send({"failed": f"process {self.index}: {text}", "status": status})
        self._is_over = True
        if not self.index:
            self._part()

    def exit(self) -> NoReturn:
        """End this process at once, with the failure of another one."""
        self._reporting.acquire()  # never released, so that no other thread reports
        self._is_failing.wait(1)
        failure = self._failure or Failed(f"another process {_LOST}", self._lost_status)
        shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # the display has hidden the cursor
        line = " ".join(printable(f"{failure}{self.leave()}").split())
        print(f"{shown}{self._program}: error: {line}", file=sys.stderr, flush=True)
        os._exit(failure.status)

    @property
    def _lost_status(self) -> int:
        return 1 if self._has_begun else 2

    def _part(self) -> None:
        """Wait until the other processes have closed their connections."""
        for reader in self._readers:
            reader.join(_PARTING / len(self._readers))

    def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._sending:
            for connection in self._connections.values():
                try:
                    connection.sendall(line)
                except OSError:
                    pass  # the thread that reads from it notices as well

    def _receive(self, peer: int) -> Any:
        value = self._received[peer].get()
        if value is _FAILURE:
            self.raise_failure(0)
        return value

    def _read(self, peer: int, connection: socket.socket) -> None:
        try:
            with connection.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    if "value" in message:
                        self._received[peer].put(message["value"])
                    elif "stop" in message:
                        self.stop = message["stop"]
                    elif "end" in message:
                        self._is_over = True
                        self._received[peer].put(None)
                    else:
                        self._fail(Failed(message["failed"], message["status"]))
                        return
        except (OSError, ValueError):
            pass  # as if it had closed the connection
        if not self._is_over:
            self._fail(Failed(f"process {peer} {_LOST}", self._lost_status))

    def _fail(self, failure: Failed) -> None:
        """Let this process and, by process 0, all others end."""
        with self._failing:
            if self._failure is not None or self._is_over:
                return
            self._failure = failure
        if not self.index:
            self._send({"failed": str(failure), "status": failure.status})
        self._is_failing.set()
        for received in self._received.values():
            received.put(_FAILURE)
        if not self._is_ending.wait(_GRACE):
            self.exit()


ALONE = Hosts()
"""The processes of a run that is not distributed: this one."""


def keep_alive(connection: socket.socket) -> None:
    """Let the system test the connection while it is silent."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
