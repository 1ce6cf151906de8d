"""How an endpoint's requests are split between versions. Pure; shares are whole per cents.

google-cloud-aiplatform can make room for a new version too (`traffic_percentage`), but hands what
rounding leaves over to whoever comes first, also to a version that was set to 0 on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: What the API calls a version that is being deployed, which has no id yet.
NEW = "0"


def with_new(current: Mapping[str, int], share: int) -> dict[str, int]:
    """The split with a new version in it.

    Args:
        current: deployed id → per cent; what has none may be left out.
        share: per cent for the new version, 0 to 100. It gets all where nothing has traffic: a
            split must add up to 100.

    Returns:
        Deployed id → per cent, `NEW` for the new version, 100 in all. The others share the rest in
        proportion to what they had; whoever had none gets none.
    """
    live = {key: value for key, value in current.items() if value > 0}
    if not live:
        return {NEW: 100}
    rest, total = 100 - share, sum(live.values())
    split = {key: value * rest // total for key, value in live.items()}
    # Largest remainders first; among equals, who had more.
    order = sorted(live, key=lambda key: (-(live[key] * rest % total), -live[key], key))
    for key in order[: rest - sum(split.values())]:
        split[key] += 1
    return {NEW: share, **split}


def idle_beyond(versions: Mapping[str, int], split: Mapping[str, int], keep: int) -> list[str]:
    """Who may go: all without traffic but the newest.

    Args:
        versions: deployed id → number of its version, larger is newer.
        split: deployed id → per cent.
        keep: so many without traffic stay.

    Returns:
        Deployed ids, oldest first.
    """
    idle: Iterable[str] = (key for key in versions if not split.get(key))
    newest_first = sorted(idle, key=lambda key: -versions[key])
    return newest_first[keep:][::-1]
