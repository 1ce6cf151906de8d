"""What all tests share: how hypothesis searches, and which tests stay in one process."""

from pathlib import Path

import pytest
from hypothesis import settings

# A deadline is a timing assertion, and this machine may be busy.
settings.register_profile("headrace", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("headrace")

_HERE = Path(__file__).parent
#: These share what takes long to make: a server with its models, a compiled pipeline.
_TOGETHER = ("conformance", "models", "pipeline/flow", "pipeline/vertex", "serving/server")
#: A fixture of tests/e2e: a whole run.
_TRAINED = "trained"


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` runs on two cores; what one test makes for the next is not to be made twice."""
    for item in items:
        path = item.path.relative_to(_HERE)
        group = next((name for name in _TOGETHER if path.is_relative_to(name)), path.as_posix())
        if _TRAINED in getattr(item, "fixturenames", ()):
            group = _TRAINED
        item.add_marker(pytest.mark.xdist_group(group))
