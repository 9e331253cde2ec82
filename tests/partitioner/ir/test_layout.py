"""Arrays move between one axis per role and the layouts that models use, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner.ir.layout import from_layout, product, to_layout
from partitioner.ir.op import AxisRole, Layout

ROLES: tuple[AxisRole, ...] = ("batch", "kv_head", "group", "token", "head_size")


@st.composite
def arrays(draw: st.DrawFn) -> tuple[np.ndarray, tuple[AxisRole, ...], Layout]:
    """Draws an array with one axis per role, and a layout of the same roles with axes joined, empty or left out."""
    roles = tuple(draw(st.permutations(ROLES)))[: draw(st.integers(1, 5))]
    sizes = {role: draw(st.integers(1, 3)) for role in roles}
    absent = {role for role in roles if sizes[role] == 1 and draw(st.booleans())}
    layout: list[tuple[AxisRole, ...]] = []
    for role in draw(st.permutations([r for r in roles if r not in absent])):
        if layout and draw(st.booleans()):
            layout[-1] = (*layout[-1], role)
        else:
            layout.append((role,))
    for _ in range(draw(st.integers(0, 2))):
        layout.insert(draw(st.integers(0, len(layout))), ())
    shape = tuple(sizes[r] for r in roles)
    return np.arange(product(shape)).reshape(shape), roles, tuple(layout)


@given(arrays())
def test_there_and_back_is_where_it_was(case: tuple[np.ndarray, tuple[AxisRole, ...], Layout]) -> None:
    array, roles, layout = case
    sizes = dict(zip(roles, array.shape, strict=True))
    back = from_layout(to_layout(array, roles, layout), layout, roles, sizes)
    assert back.shape == array.shape
    assert (back == array).all()


@given(arrays())
def test_an_axis_is_as_long_as_its_roles_and_runs_over_the_last_one_first(
    case: tuple[np.ndarray, tuple[AxisRole, ...], Layout],
) -> None:
    array, roles, layout = case
    sizes = dict(zip(roles, array.shape, strict=True))
    moved = to_layout(array, roles, layout)
    assert moved.shape == tuple(product(sizes[r] for r in axis) for axis in layout)
    for index in np.ndindex(*array.shape):
        at = dict(zip(roles, index, strict=True))
        there = []
        for axis in layout:
            position = 0
            for role in axis:
                position = position * sizes[role] + at[role]
            there.append(position)
        assert moved[tuple(there)] == array[index]


def test_heads_of_groups_lie_side_by_side() -> None:
    """Query head ``k * group + g`` reads KV head ``k``."""
    heads = np.array([["k0g0", "k0g1"], ["k1g0", "k1g1"], ["k2g0", "k2g1"]])
    flat = to_layout(heads, ("kv_head", "group"), (("kv_head", "group"),))
    assert flat.tolist() == ["k0g0", "k0g1", "k1g0", "k1g1", "k2g0", "k2g1"]


def test_a_role_without_a_place_must_have_size_one() -> None:
    array = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"has no place for \['group'\] of sizes \[3\]"):
        to_layout(array, ("batch", "group"), (("batch",),))


def test_the_product_of_nothing_is_one() -> None:
    assert product([]) == 1
    assert product((2, 3, np.int64(4))) == 24
