"""Small models, written once a session."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from serving.server.catalog import Catalog

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


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., Catalog]]:
    """serve({model name: base path}) -> a Catalog with every model AVAILABLE.

    Further arguments go to the Catalog; `scheduler` to the loads.
    """
    from tensorflow_serving.config import model_server_config_pb2

    from serving.server import saved_model
    from serving.server.catalog import Catalog
    from serving.server.lifecycle import Manager

    made: list[Catalog] = []

    def make(models: Mapping[str, Path], scheduler: Any = None, **options: object) -> Catalog:
        def load(name: str, version: int, path: str) -> saved_model.LoadedModel:
            make_queue = scheduler.queue if scheduler else None
            return saved_model.load(name, version, path, make_queue=make_queue)

        config = model_server_config_pb2.ModelServerConfig()
        for name, path in models.items():
            config.model_config_list.config.add(
                name=name, base_path=str(path), model_platform="tensorflow"
            )
        catalog = Catalog(Manager(load), **options)
        made.append(catalog)
        catalog.start(config)
        assert catalog.wait_until_available(60)
        return catalog

    yield make
    for catalog in made:
        catalog.stop()
