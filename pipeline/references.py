"""Which columns an SQL expression reads."""

from __future__ import annotations

import json
from typing import Any

from pipeline import sql


def columns_of(expression: str) -> set[str]:
    """Names of the columns that an SQL expression reads."""
    with sql.connect() as connection:
        (answer,) = connection.execute(
            "SELECT json_serialize_sql(?)", [f"SELECT ({expression}\n)"]
        ).fetchone() or ("{}",)
    found: set[str] = set()
    waiting: list[Any] = [json.loads(answer)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("class") == "COLUMN_REF" and node.get("column_names"):
                found.add(node["column_names"][-1])
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return found
