"""Pushes one version after the other until it is killed. A process of its own.

    python swap_pusher.py BASE MODEL SOURCES PAUSE_SECONDS KEEP_LAST

Pushes SOURCES/<n> as version <n>, whatever number is next, and deletes the oldest ones. Says
`push <n>` before each push and `pushed <n>` after it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from serving import layout
from serving.manifest import Provenance
from serving.registry import Registry


def main() -> None:
    base, model, sources, pause, keep_last = sys.argv[1:]
    registry = Registry(base, model)
    while True:
        names = [path.name for path in registry.folder.iterdir()]
        high_water = (registry.folder / layout.HIGH_WATER).read_text()
        number = layout.next_version(names, layout.parse_high_water(high_water))
        print(f"push {number}", flush=True)
        manifest = registry.push(Path(sources, str(number)), Provenance(run_id=f"model {number}"))
        assert manifest.version == number
        registry.retain(int(keep_last))
        print(f"pushed {number}", flush=True)
        time.sleep(float(pause))


if __name__ == "__main__":
    main()
