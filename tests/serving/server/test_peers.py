"""Who may tell a server what to serve."""

import pytest

from serving.server.errors import Code, ServingError
from serving.server.flags import FlagError, Options, parse
from serving.server.peers import check_reload, is_local


@pytest.mark.parametrize("peer", [
    "ipv4:127.0.0.1:40000", "ipv4:127.8.9.10:1", "ipv6:[::1]:40000", "ipv6:%5B::1%5D:40000",
    "ipv6:%5B::ffff:127.0.0.1%5D:40000", "unix:", "unix:/run/grpc.sock", "unix-abstract:name",
])  # fmt: skip
def test_this_machine(peer: str) -> None:
    assert is_local(peer)
    check_reload(peer, "loopback")
    check_reload(peer, "all")
    with pytest.raises(ServingError, match="from nobody"):
        check_reload(peer, "none")


@pytest.mark.parametrize("peer", [
    "ipv4:10.0.0.7:40000", "ipv4:172.17.0.1:127", "ipv6:%5B2001:db8::1%5D:40000",
    "ipv6:%5Bfe80::1%25eth0%5D:40000", "ipv6:%5B::ffff:10.0.0.7%5D:40000", "ipv4:localhost:1",
    "vsock:2:1", "", "127.0.0.1:40000",
])  # fmt: skip
def test_strangers(peer: str) -> None:
    assert not is_local(peer)
    check_reload(peer, "all")
    with pytest.raises(ServingError, match="--allow_reload=all") as raised:
        check_reload(peer, "loopback")
    assert raised.value.code is Code.PERMISSION_DENIED


def test_the_flag() -> None:
    assert Options().allow_reload == "loopback"
    assert parse(["--allow_reload=none"]).options.allow_reload == "none"
    with pytest.raises(FlagError, match="loopback, all, none"):
        parse(["--allow_reload=some"])
    with pytest.raises(FlagError, match="--max_inflight_bytes must be at least 0"):
        parse(["--max_inflight_bytes=-1"])
