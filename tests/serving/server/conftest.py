"""Small models, written once a session."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Tests are modules without a package; `import tiny_models` works in all files of this folder.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one base path per model: <name>/1/saved_model.pb.

    Names: half_plus_two, half_plus_three, half_plus_two_tf2, multi, types, scalar, classifier,
    slow, counter, matrix; and `versions`, with 123 and 124 (half plus two, half plus three).
    """
    import tiny_models as make

    root = tmp_path_factory.mktemp("tiny")
    make.half_plus(root / "half_plus_two" / "1")
    make.half_plus(root / "half_plus_three" / "1", 3.0)
    make.half_plus(root / "versions" / "00000123")
    make.half_plus(root / "versions" / "00000124", 3.0)
    for function in (
        make.half_plus_two_tf2,
        make.multi,
        make.types,
        make.scalar,
        make.classifier,
        make.slow,
        make.counter,
        make.matrix,
    ):
        function(root / function.__name__ / "1")
    return root
