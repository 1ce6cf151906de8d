"""Python runs this at start when its folder is on the path: no socket may leave this machine."""

import os
import socket
import traceback

_LOCAL = ("127.", "::1", "localhost", "0.0.0.0", "::")
_connect, _resolve = socket.socket.connect, socket.getaddrinfo


def _refuse(host: object) -> None:
    if host is not None and not str(host).startswith(_LOCAL):
        with open(os.environ["HEADRACE_GUARD"], "a", encoding="utf-8") as file:
            file.write(f"{host}\n{''.join(traceback.format_stack(limit=6))}\n")
        raise OSError(f"no network in this test: {host}")


def connect(self, address):
    if isinstance(address, tuple):
        _refuse(address[0])
    return _connect(self, address)


def getaddrinfo(host, *arguments, **options):
    _refuse(host.decode() if isinstance(host, bytes) else host)
    return _resolve(host, *arguments, **options)


socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
