"""Ports of the loopback interface: which are free, and starting servers on some of them."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING, Protocol, TypeVar

from scripts.child import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "127.0.0.1"

#: Below the range from which the kernel hands out ports of outgoing connections.
_PORTS = range(12_000, 31_900)
_PORT_TRIES = 20


class Server(Protocol):
    """Something that listens on consecutive ports from ``port`` on."""

    port: int

    def start(self) -> None:
        """Start and wait until it answers; raises ChildFailedError."""

    def kill(self) -> None:
        """End it, whatever state it is in."""


AnyServer = TypeVar("AnyServer", bound=Server)


def free_ports(count: int) -> int:
    """The first of ``count`` consecutive ports that nobody listens on just now.

    Another program can take one of them before a server does: start servers with ``on_free_ports``.
    """
    for _ in range(1000):
        first = random.choice(_PORTS)
        if ports_are_free(first, count):
            return first
    raise ChildFailedError(f"no {count} consecutive ports are free on {LOOPBACK}")


def port_is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def ports_are_free(first: int, count: int) -> bool:
    """Whether a server could listen on all of ``count`` ports from ``first`` on."""
    return all(port_is_free(port) for port in range(first, first + count))


def on_free_ports(make: Callable[[int], AnyServer], count: int) -> AnyServer:
    """Start what ``make(first_port)`` returns, on other ports when somebody else was faster.

    Raises ChildFailedError when the server cannot be started at all.
    """
    for _ in range(_PORT_TRIES):
        first = free_ports(count)
        server = make(first)
        try:
            server.start()
        except ChildFailedError:
            server.kill()
            if ports_are_free(first, count):  # then it was not the ports
                raise
        else:
            return server
    raise ChildFailedError(f"somebody else was faster on {_PORT_TRIES} ranges of ports")
