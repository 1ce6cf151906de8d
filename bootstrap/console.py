"""What the person at the terminal sees: one line a phase, one line for a failure.

Everything a tool prints goes to the log file, whose path is part of a failure's line.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

#: What the log of pip, uv or apt holds when the cause is not in this project, and the remedy.
CAUSES = (
    (
        r"No space left on device|Disk quota exceeded",
        "the disk is full; free some space and run this again",
    ),
    (
        r"HASHES? (DO|DOES|MISMATCH)|[Hh]ash mismatch",
        "a package is not the one that was locked (its hash differs); look at the package index "
        "that pip is configured with",
    ),
    (
        r"name resolution|Name or service not known|dns error|Could not resolve"
        r"|Network is unreachable|Connection refused|No route to host|[Tt]imed? ?out|timeout"
        r"|Failed to establish a new connection|error sending request|tunnel error|ProxyError"
        r"|Failed to fetch|client error \(Connect\)|from versions: none",
        "the package index could not be reached; connect to the network (or name a mirror: "
        "pip config set global.index-url URL) and run this again",
    ),
    (
        r"[Cc]ertificate|SSLError|invalid peer certificate",
        "the package index's certificate is not trusted here; name the right authority: "
        "pip config set global.cert FILE",
    ),
    (
        r"40[13] (Client Error|Unauthorized|Forbidden)|401 Error|403 Error",
        "the package index refused us; look at the credentials that pip is configured with",
    ),
)


class Failure(Exception):
    """Set-up can't go on. The message is one line: what is wrong, then the remedy."""


class Console:
    """Phases on stdout; commands run into a log file.

    Attributes:
        log_path: the file that holds every command and what it printed.
        inherited: file descriptors that child processes keep open. The set-up's lock is one, so
            that it outlives a killed parent for as long as a child still writes.
    """

    def __init__(self, log_path: Path, inherited: Sequence[int] = ()) -> None:
        self.log_path = log_path
        self.inherited = tuple(inherited)
        log_path.write_bytes(b"")

    def say(self, text: str) -> None:
        """Prints one line."""
        print(f"headrace: {text}", flush=True)

    @contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Prints `title` at the start and the seconds it took at the end, on one line."""
        started = time.monotonic()
        sys.stdout.write(f"  {title} ... ")
        sys.stdout.flush()
        try:
            yield
        except BaseException:
            sys.stdout.write("\n")
            sys.stdout.flush()
            raise
        sys.stdout.write(f"{time.monotonic() - started:.0f} s\n")
        sys.stdout.flush()

    def attempt(
        self, command: Sequence[str | Path], env: Mapping[str, str] | None = None, **options: object
    ) -> tuple[bool, str]:
        """Runs a command into the log; returns whether it succeeded and what it printed."""
        words = [str(word) for word in command]
        with self.log_path.open("ab") as log:
            log.write(f"\n$ {shlex.join(words)}\n".encode())
            log.flush()
            start = log.tell()
            done = subprocess.run(  # type: ignore[call-overload]
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                pass_fds=self.inherited,
                check=False,
                **options,
            )
        with self.log_path.open("rb") as log:
            log.seek(start)
            return done.returncode == 0, log.read().decode(errors="replace")

    def run(
        self,
        command: Sequence[str | Path],
        doing: str,
        env: Mapping[str, str] | None = None,
        **options: object,
    ) -> str:
        """Runs a command that must succeed and returns what it printed.

        Raises:
            Failure: it did not; the message names what was being done, the cause if the log
                shows a known one, and the log.
        """
        succeeded, output = self.attempt(command, env, **options)
        if not succeeded:
            raise Failure(explain(doing, output, self.log_path))
        return output


def explain(doing: str, output: str, log_path: Path) -> str:
    """One line for a command that failed: the known cause found in `output`, or its last line."""
    for pattern, cause in CAUSES:
        if re.search(pattern, output):
            return f"{doing} failed: {cause} (details: {log_path})"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = lines[-1][:200] if lines else "it printed nothing"
    return f"{doing} failed: {last} (details: {log_path})"
