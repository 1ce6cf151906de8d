"""Ports: listening on them, and saying clearly who else does."""

from __future__ import annotations

import errno
import glob
import os
import socket

_LISTEN = "0A"  # a state in /proc/net/tcp


class PortInUseError(Exception):
    """A port belongs to somebody else; the message names it, the holder and the flag."""

    def __init__(self, port: int, flag: str) -> None:
        super().__init__(
            f"port {port} is in use{_holder(port)}. Stop what listens there or choose another "
            f"with --{flag}=…"
        )


def check_free(host: str, port: int, flag: str) -> None:
    """Finds out whether a port can be listened on.

    Raises:
        PortInUseError: it cannot.
    """
    listen(host, port, flag).close()


def listen(host: str, port: int, flag: str) -> socket.socket:
    """A listening socket; on all addresses, IPv6 as well, where `host` is 0.0.0.0.

    Args:
        host: address.
        port: 0 for a free one.
        flag: that the port came from.

    Raises:
        PortInUseError: somebody else has the port.
        OSError: the address is not this machine's.
    """
    if host == "0.0.0.0" and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(port, flag) from error
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(port, flag) from error
        raise


def _holder(port: int) -> str:
    """Which process listens there, where Linux tells and this user may know."""
    try:
        sockets = _listening_sockets(port)
        for folder in glob.iglob("/proc/[0-9]*/fd"):
            pid = folder.split("/")[2]
            if sockets and sockets & _open_files(folder):
                with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                    return f" by process {pid} ({file.read().strip()})"
    except OSError:
        pass
    return ""


def _listening_sockets(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as file:
            for line in file.readlines()[1:]:
                columns = line.split()
                local, state, inode = columns[1], columns[3], columns[9]
                if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{inode}]")
    return found


def _open_files(folder: str) -> set[str]:
    found = set()
    try:
        for name in os.listdir(folder):
            found.add(os.readlink(os.path.join(folder, name)))
    except OSError:  # another user's process, or one that has ended
        pass
    return found
