"""Where the processes of a distributed run come together, before JAX connects them."""

import json
import re
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from experiments.running import hosts
from experiments.running.cli import InputError
from experiments.running.hosts import Address, Hosts

_PROTOCOL = "gajax 1"
_GREETING_SECONDS = 5.0
_GREETING_BYTES = 10_000
_SILENT_SECONDS = 2.0
_WANTED = "HOST:PORT, such as 10.0.0.1:7700 or [fd00::1]:7700, with a port from 1 to 65535"


def parse_address(text: str) -> Address:
    """Read the value of `--coordinator`; InputError if it is no address with a port."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.%\w]+)\]|([^\s:\[\]/@]+)):(\d{1,5})", text, re.ASCII)
    if found:
        address = Address(found[1] or found[2], int(found[3]))
        if 1 <= address.port <= 65535 and (not found[1] or ":" in found[1]):
            return address
    raise InputError(f"--coordinator must be {_WANTED}, not {text}")


class _Waiting:
    """The time that is left, told once on stderr if it becomes long."""

    def __init__(self, seconds: float, program: str, quiet: bool) -> None:
        self.seconds = seconds
        self._began, self._program, self._is_told = time.monotonic(), program, quiet

    def left(self) -> float:
        """Seconds that are left, at least a little."""
        return max(0.001, self._began + self.seconds - time.monotonic())

    def is_over(self) -> bool:
        """Whether none are."""
        return time.monotonic() >= self._began + self.seconds

    def tell(self, text: str) -> None:
        """Tell what is waited for, unless that was told."""
        if not self._is_told and time.monotonic() - self._began > _SILENT_SECONDS:
            self._is_told = True
            line = f"waiting up to {self.seconds:g} s for {text} (--connect-timeout)"
            print(f"{self._program}: {line}", file=sys.stderr, flush=True)


def meet(
    address: Address, count: int, index: int, *, seconds: float, program: str, quiet: bool
) -> Hosts:
    """Wait until all processes have come; InputError, in all of them, if not within the time."""
    waiting = _Waiting(seconds, program, quiet)
    if index:
        connections = {0: _join(address, count, index, waiting)}
    else:
        connections = _listen(address, count, waiting)
    found = Hosts(index, connections, program, count, address)
    found.share(lambda: None)  # all have come
    return found


def _listen(address: Address, count: int, waiting: _Waiting) -> dict[int, socket.socket]:
    """The connections of all other processes, by their indices."""
    connections: dict[int, socket.socket] = {}

    def refuse(text: str, *others: socket.socket) -> InputError:
        line = json.dumps({"failed": f"process 0: {text}", "status": 2}).encode() + b"\n"
        for connection in (*connections.values(), *others):
            with suppress(OSError):
                connection.sendall(line)
            connection.close()
        return InputError(text)

    with _bound(address) as listener:
        while missing := sorted({*range(1, count)} - {*connections}):
            names = f"process{'es' * (len(missing) > 1)} {' '.join(map(str, missing))}"
            if waiting.is_over():
                raise refuse(
                    f"--processes must be the number of processes that are started, not {count}: "
                    f"{names} did not come within {waiting.seconds:g} s (--connect-timeout)"
                )
            waiting.tell(f"{names} of {count}")
            for peer, connection in connections.items():
                if _has_ended(connection):
                    raise refuse(f"process {peer} has ended while the others came together")
            listener.settimeout(min(0.2, waiting.left()))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            greeting = _greeting(connection)
            if greeting is None:  # not a process of a run
                connection.close()
                continue
            peer, processes = greeting
            if processes != count:
                shown = f"{count} in process 0 and {processes} in process {peer}"
                text = f"--processes must be the same in all processes, not {shown}"
                raise refuse(text, connection)
            if peer in connections or not peer:
                text = f"--process-id must be another one in each process, not {peer} in two"
                raise refuse(text, connection)
            connections[peer] = connection
        return connections


def _bound(address: Address) -> socket.socket:
    """A socket that listens at the port: on all interfaces, as JAX does, unless it is local."""
    host = address.host if address.is_local else None
    try:
        found = socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, place = max(found, key=lambda one: one[0] == socket.AF_INET6)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(place)
        listener.listen(128)
    except OSError as error:
        raise InputError(
            f"--coordinator must be an address at which process 0 can listen, not {address} "
            f"({error.strerror})"
        ) from None
    return listener


def _greeting(connection: socket.socket) -> tuple[int, int] | None:
    """The index of the process that has connected and its number of processes."""
    connection.settimeout(_GREETING_SECONDS)
    try:
        # Without a buffer that would hold back what follows.
        with connection.makefile("rb", buffering=0) as file:
            message = json.loads(file.readline(_GREETING_BYTES))
        if message["protocol"] != _PROTOCOL:
            return None
        greeting = int(message["index"]), int(message["count"])
        connection.sendall(json.dumps({"protocol": _PROTOCOL}).encode() + b"\n")
        connection.settimeout(None)
        hosts.keep_alive(connection)
        return greeting
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _join(address: Address, count: int, index: int, waiting: _Waiting) -> socket.socket:
    """A connection to process 0."""
    reason = ""
    while not waiting.is_over():
        waiting.tell(f"process 0 at {address}")
        try:
            connection = socket.create_connection(address, timeout=min(2.0, waiting.left()))
        except OSError as error:
            reason = error.strerror or str(error)
            time.sleep(min(0.1, waiting.left()))
            continue
        if connection.getsockname() == connection.getpeername():
            # Where no process listens, a socket can be connected with itself.
            connection.close()
            continue
        greeting = {"protocol": _PROTOCOL, "index": index, "count": count}
        connection.settimeout(waiting.left())
        try:
            connection.sendall(json.dumps(greeting).encode() + b"\n")
            with connection.makefile("rb", buffering=0) as file:
                answer = file.readline(_GREETING_BYTES)
        except OSError as error:
            reason = error.strerror or str(error)
            connection.close()
            continue
        if _is_ours(answer):
            connection.settimeout(None)
            hosts.keep_alive(connection)
            return connection
        connection.close()
        if answer:
            raise InputError(
                f"--coordinator must be the address of a process 0 that waits for others, not "
                f"{address}, where another program or a run that has begun answers"
            )
        reason = "it closed the connection"
        time.sleep(min(0.1, waiting.left()))
    raise InputError(
        f"--coordinator must be the address of process 0, not {address}, which did not answer "
        f"within {waiting.seconds:g} s (--connect-timeout): {reason}"
    )


def _is_ours(answer: bytes) -> bool:
    try:
        message: Any = json.loads(answer)
        return message["protocol"] == _PROTOCOL
    except (ValueError, KeyError, TypeError):
        return False


def _has_ended(connection: socket.socket) -> bool:
    """Whether the other side has closed the connection."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.setblocking(True)
