import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetnas.harness.records.identity import canonical_json, identity_of

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=20
)


def test_canonical_json_is_sorted_without_spaces_and_keeps_unicode() -> None:
    assert canonical_json({"b": [1, 2.0, None, True], "a": "Zürich\n"}) == '{"a":"Zürich\\n","b":[1,2.0,null,true]}'


def test_the_identity_is_the_sha256_of_the_text() -> None:
    assert identity_of({}) == hashlib.sha256(b"{}").hexdigest()
    assert identity_of({"é": 1}) == hashlib.sha256('{"é":1}'.encode()).hexdigest()


@given(values)
def test_canonical_json_survives_a_round_trip(value: object) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(max_size=5), scalars, min_size=2, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, object], shuffler: object) -> None:
    keys = list(value)
    shuffler.shuffle(keys)  # type: ignore[attr-defined]
    assert canonical_json({key: value[key] for key in keys}) == canonical_json(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back_bit_for_bit(number: float) -> None:
    assert math.copysign(1.0, json.loads(canonical_json(number))) == math.copysign(1.0, number)
    assert json.loads(canonical_json(number)) == number


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"deep": [number]})
