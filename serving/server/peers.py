"""Who asks, and who may tell the server what to serve."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote

from serving.server.errors import Code, ServingError


def is_local(peer: str) -> bool:
    """Whether a peer, as gRPC names it (`ipv4:127.0.0.1:40000`), is on this machine."""
    kind, _, rest = peer.partition(":")
    if kind in ("unix", "unix-abstract"):
        return True
    if kind not in ("ipv4", "ipv6"):
        return False
    host = unquote(rest).rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def check_reload(peer: str, allowed: str) -> None:
    """Refuses a reload request of somebody who may not send one.

    A reload names folders of this machine to load, and what it loads can read files.

    Args:
        peer: as gRPC names it.
        allowed: `all`, `none`, or `loopback`: this machine's own, a UNIX socket's included.

    Raises:
        ServingError: PERMISSION_DENIED.
    """
    if allowed == "all" or (allowed == "loopback" and is_local(peer)):
        return
    why = "from nobody" if allowed == "none" else "from this machine only"
    raise ServingError(
        Code.PERMISSION_DENIED,
        f"This server takes reload requests {why} (--allow_reload={allowed}). Write the change "
        "into its --model_config_file, or start it with --allow_reload=all on a network where "
        "everybody may choose what it serves.",
    )
