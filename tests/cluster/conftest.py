"""The modules of this folder by their names: they are a program's, not a package's."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
