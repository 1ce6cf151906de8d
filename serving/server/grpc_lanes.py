"""Which kinds of calls a server has, and how many of each may be there."""

from __future__ import annotations

from dataclasses import dataclass

from serving.server.grpc_calls import Lane, Refused

# Threads beside those that answer: for calls whose message is on its way, and for those that wait.
_BESIDE = 112
# Of these, so many may wait for slow clients before the slowest lose their calls. Each may have
# a message as large as is allowed, half received, which nobody can count before it is whole.
_RECEIVING = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcLimits:
    """What clients may do.

    Attributes:
        threads: calls that are answered at a time.
        calls: that are there at a time: received, waiting, answered, or sent back.
        watches: streams of health's Watch at a time.
        reflections: streams of reflection at a time.
        streams: calls of one connection at a time.
        message_bytes: of a message that is received; 0: no limit.
        seconds: that a client may take to send a message, and to take its answer; 0: no limit.
        allow_reload: whose reload requests are obeyed: `loopback`, `all` or `none`.
    """

    threads: int = 16
    calls: int = 2000
    watches: int = 500
    reflections: int = 8
    streams: int = 1000
    message_bytes: int = 128 << 20
    seconds: float = 60.0
    allow_reload: str = "loopback"


class Lanes:
    """One for each kind.

    Attributes:
        inference: Predict, Classify, Regress, MultiInference.
        models: GetModelStatus and GetModelMetadata, which are told while all models are busy.
        reloads: HandleReloadConfigRequest, which may take a minute.
        checks: health's Check.
        watches: health's Watch.
        reflection: of both versions.
    """

    def __init__(self, limits: GrpcLimits, refused: Refused) -> None:
        def lane(name: str, threads: int, calls: int, waiting: int = 0) -> Lane:
            return Lane(
                f"grpc-{name}",
                threads,
                calls=calls,
                seconds=limits.seconds,
                refused=refused,
                waiting=waiting,
            )

        self.inference = lane("infer", limits.threads + _BESIDE, limits.calls, _RECEIVING)
        self.models = lane("models", 64, limits.calls, 8)
        self.reloads = lane("reload", 16, 32, 8)
        self.checks = lane("check", 64, limits.calls, 8)
        self.watches = lane("watch", 16, limits.watches, 8)
        # A stream of this kind keeps a thread as long as it asks.
        self.reflection = lane("reflect", limits.reflections, limits.reflections)
