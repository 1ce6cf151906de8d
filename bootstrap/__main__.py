"""`python -m bootstrap [make|check|lock|tool]`: the environment, is it right, its lock, a tool."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from bootstrap import checks, environment
from bootstrap.console import Failure

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    """Runs one command; a failure is one line on stderr and exit code 1."""
    command = arguments[0] if arguments else "make"
    try:
        if command == "check":
            return 0 if environment.is_right(ROOT) else 1
        if command == "make":
            environment.make(ROOT)
        elif command == "lock":
            environment.lock(ROOT)
        elif command == "tool":
            return environment.tool(ROOT, arguments[1:])
        else:
            raise Failure(f"unknown command {command!r}; it is one of make, check, lock, tool")
    except Failure as failure:
        print(f"headrace: {failure}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        print(f"headrace: {checks.unwritable(error, ROOT)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nheadrace: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
