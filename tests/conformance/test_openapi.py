"""The OpenAPI description holds: requests made from it get the answers it documents."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.mark.P1
@pytest.mark.embedded
@pytest.mark.parametrize("known", [True, False], ids=["K14-known", "K14-any"])
def test_generated_requests_get_documented_answers(serving: Any, known: bool) -> None:
    server = serving("half_plus_two")
    schema = schemathesis.openapi.from_url(f"{server.rest_url}/openapi.json")
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=6, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(operation.as_strategy())
        def ask(generated: Any) -> None:
            if known:
                generated.path_parameters["model"] = "default"
            generated.call_and_validate(base_url=server.rest_url, checks=CHECKS)

        ask()
