"""Amounts are numbers and codes are codes: by the head word of a name, and by the values."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.starter import decide
from pipeline.starter.profile import Profile

_DRAW = np.random.default_rng(4)
SHAPES = {
    "few": _DRAW.integers(1, 8, 5000),
    "spread": _DRAW.integers(10, 95, 5000),
    "list": _DRAW.integers(1, 78, 5000),
    "many": _DRAW.integers(10_000, 10_400, 5000),
    "tail": np.minimum(_DRAW.exponential(40, 5000).astype(int), 400),
    "sales": _DRAW.lognormal(6.5, 0.6, 5000).astype(int),
    "signed": _DRAW.integers(-40, 40, 5000),
    "each": _DRAW.permutation(50_000)[:5000] + 100,
}


def profile(name: str, shape: str) -> Profile:
    """As of a column of whole numbers."""
    values, counts = np.unique(SHAPES[shape], return_counts=True)
    quantiles = np.quantile(SHAPES[shape], [0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999])
    return Profile(
        name,
        "BIGINT",
        5000,
        present=5000,
        distinct=len(values),
        numbers=5000,
        whole=5000,
        low=float(values[0]),
        high=float(values[-1]),
        quantiles=tuple(float(q) for q in quantiles),
        top=[(str(v), int(c)) for v, c in zip(values[:100], counts[:100], strict=True)],
    )


def kind(name: str, shape: str) -> str:
    (decision,) = decide.features([profile(name, shape)], {name: name})
    return decision.kind


@pytest.mark.parametrize(
    "name",
    [
        *("city_mpg", "agent_calls", "store_sales", "product_price", "num_agents", "class_size"),
        *("plan_price", "type_count", "calls_per_agent", "number_of_stores", "days_in_status"),
        *("total_branch", "avg_city", "product_weight", "storeSales", "ProductPrice", "agents"),
        *("zone_temperature", "line_length", "gate_delay", "region_population", "group_size"),
        *("station_distance", "status_changes", "country_gdp", "state_tax", "category_rank"),
        *("company_age", "channel_width", "carrier_delay", "terminal_minutes", "flags", "stores"),
        *("id_count", "code_lines", "zip_density", "hash_rate", "distance_to_city", "store_size"),
        *("sales_by_store", "time_at_location", "n_products", "user_score", "plan_minutes"),
        *("vendor_fee", "account_balance", "customer_spend", "device_temperature", "route_km"),
        *("area", "living_area", "blocks"),
    ],
)
@pytest.mark.parametrize("shape", ["few", "spread", "tail", "sales"])
def test_amounts_are_numbers(name: str, shape: str) -> None:
    if name.endswith("area") and shape == "few":  # 1 to 7: districts, as likely as not
        return
    assert kind(name, shape) == "numeric"


@pytest.mark.parametrize(
    "name",
    [
        *("store_id", "product_code", "class", "zone", "zip", "zipcode", "area_code", "StoreID"),
        *("store", "PULocationID", "store_nbr", "gate_number", "vendor", "payment_type"),
        *("plan_code", "region", "status", "gender", "weekday", "carrier_cd", "state", "city"),
        *("agent", "id_branch", "ship_to_state", "product_category", "county_fips", "line_no"),
        *("origin", "dest", "channel", "pickup_community_area", "area", "customer_segment"),
    ],
)
@pytest.mark.parametrize("shape", ["few", "list"])
def test_codes_are_codes(name: str, shape: str) -> None:
    assert kind(name, shape) == "categorical"


@pytest.mark.parametrize(
    "name, shape, wanted",
    [
        ("store_id", "many", "high_cardinality"),
        ("zip", "many", "high_cardinality"),
        ("product", "many", "high_cardinality"),
        ("class", "many", "numeric"),
        ("area", "spread", "numeric"),
        ("state", "signed", "numeric"),
        ("zone", "signed", "numeric"),
        ("plan_id", "signed", "categorical"),
        ("order_number", "each", "ignore"),
        ("index", "each", "ignore"),
        ("transaction_id", "each", "ignore"),
        # Another value in each row is no key yet: bytes, a rate, a price.
        ("num_bytes", "each", "numeric"),
        ("hash_rate", "each", "numeric"),
        ("key_length", "each", "numeric"),
        ("row_count", "each", "numeric"),
        ("price_index", "each", "numeric"),
        ("number_of_clicks", "each", "numeric"),
    ],
)
def test_the_values_have_a_say(name: str, shape: str, wanted: str) -> None:
    assert kind(name, shape) == wanted
