"""Reading tf.Examples as others write them."""

from __future__ import annotations

import math

import pytest

pytestmark = pytest.mark.tfx


def test_a_feature_that_is_absent_or_empty_is_missing() -> None:
    import tensorflow as tf

    from models.table import parse

    whole, empty, absent = tf.train.Example(), tf.train.Example(), tf.train.Example()
    whole.features.feature["fare"].float_list.value.append(2.5)
    whole.features.feature["code"].int64_list.value.append(7)
    whole.features.feature["flag"].bytes_list.value.append(b"Y")
    empty.features.feature["fare"].float_list.SetInParent()
    empty.features.feature["code"].int64_list.SetInParent()
    empty.features.feature["flag"].bytes_list.SetInParent()
    kinds = {"fare": "float", "code": "int", "flag": "string"}
    for rows in ([whole, empty, absent], [empty, absent]):
        parsed = parse(tf.constant([row.SerializeToString() for row in rows]), kinds)
        fare, code, flag = (parsed[name].numpy().tolist() for name in kinds)
        assert [math.isnan(value) for value in fare[-2:]] == [True, True]
        assert code[-2:] == [-1, -1] and flag[-2:] == [b"", b""]
        if len(rows) == 3:
            assert (fare[0], code[0], flag[0]) == (2.5, 7, b"Y")
