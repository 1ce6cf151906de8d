"""How many files and connections the process may have open."""

from __future__ import annotations

import logging

_LOG = logging.getLogger(__name__)

#: Kept for models, logs and gRPC.
_RESERVE = 256


def for_connections() -> int | None:
    """Raises the process's limit as far as it may; returns how many connections fit below it.

    Returns:
        None: there is no limit.
    """
    try:
        import resource
    except ImportError:  # not on this system
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # macOS allows less than it says
            _LOG.warning("the limit of open files stays at %d: %s", soft, error)
    if soft == resource.RLIM_INFINITY:
        return None
    return max(soft - _RESERVE, soft // 2)
