"""The JSON dialect: what is read, what is refused, and that nothing recurses."""

import gzip
import json
import math
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server import json_text
from serving.server.errors import Code, ServingError
from serving.server.json_text import parse
from serving.server.json_values import rendered, to_bytes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


def problem(text: bytes) -> str:
    with pytest.raises(ServingError) as raised:
        parse(text)
    assert raised.value.code == Code.INVALID_ARGUMENT
    return raised.value.message


def same(one: object, other: object) -> bool:
    """Equal, with NaN equal to itself and 1 other than 1.0."""
    return repr(one) == repr(other)


@given(VALUES, st.booleans(), st.binary(max_size=5))
def test_what_is_written_is_read_back(value: object, ascii_only: bool, rest: bytes) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    # A number goes on with what follows it.
    assert same(parse(text + (b" " + rest if not isinstance(value, int | float) else b"")), value)


@given(VALUES)
def test_both_parsers_agree(value: object) -> None:
    text = json.dumps(value)
    for leaves in (True, False):
        assert same(json_text._Parser(text, leaves, None).parse(0), value)


def verdict(read: Callable[[], object]) -> str:
    try:
        return rendered(read())
    except ServingError as error:
        return error.message


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    verdict(lambda: parse(text))


@given(st.text('[]{},:"0123.eE+-NaInfity \\u\n', max_size=30))
def test_near_json_gets_one_verdict_from_both_parsers(text: str) -> None:
    start = len(text) - len(text.lstrip(" \n"))
    slow = verdict(lambda: json_text._Parser(text, False, None).parse(start))
    assert verdict(lambda: json_text._Parser(text, True, None).parse(start)) == slow
    if text.strip(" \n"):
        assert verdict(lambda: parse(text.encode())) == slow


@pytest.mark.parametrize(
    "text, value",
    [
        (b"[NaN, -NaN, Infinity, -Infinity, Inf, -Inf]",
         [math.nan, math.nan, math.inf, -math.inf, math.inf, -math.inf]),
        (b'{"a": 1, "a": 2}', {"a": 1}),
        (b'{"b": Inf, "a": 1, "a": Inf}', {"b": math.inf, "a": 1}),
        (b"[1] and so on", [1]),
        (b"\xef\xbb\xbf [1]", [1]),
        (b"[1.7976931348623157e308]", [1.7976931348623157e308]),
        (b"[1, 1.0, 1e2, -0]", [1, 1.0, 100.0, 0]),
        (b'["\\ud83d\\ude00", "\\u00e9"]', ["😀", "é"]),
        (b'{"": {}}', {"": {}}),
    ],
)  # fmt: skip
def test_dialect(text: bytes, value: object) -> None:
    assert same(parse(text), value)


def test_strings_keep_stray_bytes() -> None:
    assert to_bytes(parse(b'["\xff\xc3\xa9"]')[0]) == b"\xff\xc3\xa9"


@pytest.mark.parametrize(
    "text, phrase",
    [
        (b"", "The document is empty"),
        (b" \n", "The document is empty"),
        (b"instances = [1]", "Invalid value. at offset: 0"),
        (b'{"\xc3\xa9": Nan}', "Invalid value. at offset: 7"),
        (b"[1,]", "Invalid value. at offset: 3"),
        (b"[1 2]", "Missing a comma or ] after an array element. at offset: 3"),
        (b'{"a":1 "b":2}', "Missing a comma or } after an object member."),
        (b"{a:1}", "Missing a name for object member. at offset: 1"),
        (b'{"a" 1}', "Missing a colon after a name of object member."),
        (b"[1e400]", "Number too big to be stored in double. at offset: 1"),
        (b"[1" + b"0" * 250 + b"e99]", "Number too big"),
        (b"[" + b"9" * 5000 + b"]", "Number too big"),
        (b"[1.]", "Miss fraction part in number."),
        (b"[1e]", "Miss exponent in number."),
        (b'["a', "Missing a closing quotation mark in string."),
        (b'["\\q"]', "Invalid escape character in string."),
        (b'["\\u12g4"]', "Incorrect hex digit after \\u escape in string."),
        (b'["\\ud83d"]', "The surrogate pair in string is invalid."),
        (b'["\x01"]', "Invalid encoding in string."),
        (b"[nul]", "Invalid value."),
    ],
)
def test_refusals_say_what_and_where(text: bytes, phrase: str) -> None:
    assert phrase in problem(text)


@pytest.mark.parametrize("depth", [10_000, 200_000])
def test_deep_nesting_is_no_problem(depth: int) -> None:
    value = parse(b'{"a":' + b"[" * depth + b"]" * depth + b', "b": 1}')
    assert value["b"] == 1
    assert len(rendered(value)) <= 300


def test_endless_nesting_is_refused() -> None:
    assert "levels deep" in problem(b"[" * (json_text.MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "element", [b"1.5", b'"a,]b"', b"[1,[2]]", b'{"a":"}"}', b"[]", b"NaN", b"true"]
)
def test_large_bodies_are_read_as_small_ones(element: bytes) -> None:
    count = 2 * json_text._LARGE // (len(element) + 1)
    text = b'{"x": [' + b",".join([element] * count) + b'], "y": 0}'
    value = parse(text)
    assert len(value["x"]) == count and value["y"] == 0
    assert repr(value["x"][-1]) == repr(parse(element))


def test_a_large_body_gives_up_at_its_deadline() -> None:
    text = b"[" + b"Inf," * 1_000_000 + b"1]"
    with pytest.raises(ServingError) as raised:
        parse(text, time.monotonic() - 1)
    assert raised.value.code == Code.DEADLINE_EXCEEDED
    assert len(gzip.compress(text)) < 10_000
