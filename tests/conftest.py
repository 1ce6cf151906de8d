"""What all tests share: how hypothesis searches, and which tests stay in one process."""

from typing import Any

import pytest
from hypothesis import settings

# A deadline is a timing assertion, and this machine may be busy.
settings.register_profile("headrace", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("headrace")

#: Tests that share what takes long to make (a server with its models, a compiled pipeline, a whole
#: run) → their group. Others are grouped by file.
_TOGETHER = {
    "tests/conformance/": "conformance",
    "tests/models/": "models",
    "tests/pipeline/flow/": "flow",
    "tests/pipeline/vertex/": "vertex",
    "tests/serving/server/": "server",
    **{f"tests/e2e/test_{name}.py": "trained" for name in ("dataflow", "gates", "report", "run")},
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`make test` runs on two cores; what one test makes for the next is not to be made twice.

    Marks (`--dist loadgroup`) would say it too, but pytest 9.2 and xdist 3.8 do not agree on them.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return next((g for start, g in _TOGETHER.items() if file.startswith(start)), file)

    return Grouped(config, log)
