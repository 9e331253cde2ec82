import copy

import pytest

from cost_models.frozen_mapping import FrozenMapping


def test_it_is_a_mapping_that_hashes():
    one, two = FrozenMapping({"a": 1, "b": 2}), FrozenMapping({"b": 2, "a": 1})
    assert one == two == {"a": 1, "b": 2}
    assert hash(one) == hash(two)
    assert list(one) == ["a", "b"]
    assert len(one) == 2
    assert repr(one) == "FrozenMapping({'a': 1, 'b': 2})"
    assert one != 3


def test_it_cannot_change():
    source = {"a": 1}
    frozen = FrozenMapping(source)
    source["a"] = 2
    assert frozen["a"] == 1
    with pytest.raises(TypeError):
        frozen["a"] = 2  # type: ignore[index]
    with pytest.raises(AttributeError, match="cannot be changed"):
        frozen._items = {}


def test_it_can_be_copied() -> None:
    frozen = FrozenMapping({"a": [1]})
    copied = copy.deepcopy(frozen)
    assert copied == frozen
    assert copied["a"] is not frozen["a"]
