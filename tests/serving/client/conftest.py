"""A fake server behind each protocol."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Tests are modules without a package; `import fakes` works in all files of this folder.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def engine() -> Any:
    import fakes

    return fakes.Engine()


@pytest.fixture(params=["rest", "grpc"])
def address(request: pytest.FixtureRequest, engine: Any) -> Iterator[str]:
    """Of the engine, over one protocol after the other."""
    import fakes

    server = fakes.Rest(engine) if request.param == "rest" else fakes.Grpc(engine)
    yield server.address
    server.close()


@pytest.fixture
def grpc_address(engine: Any) -> Iterator[str]:
    import fakes

    server = fakes.Grpc(engine)
    yield server.address
    server.close()
