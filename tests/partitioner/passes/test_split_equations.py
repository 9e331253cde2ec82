"""Equations are sorted into index arithmetic, parameter views, and data."""

from typing import Any

import jax
import pytest
from jax import numpy as jnp

from partitioner.frontend import from_step, trace_phase
from partitioner.jaxpr import variables
from partitioner.passes.split_equations import SplitEquations, split_equations
from tests.partitioner.passes.spellings import SPELLINGS
from tests.partitioner.passes.traces import decode_of

TABLE = jnp.arange(12.0)


def split_of(logits: Any, **params: Any) -> SplitEquations:
    """Splits a step whose logits are ``logits(params, tokens, cache, positions, mask)``."""

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> Any:
        return logits(params, tokens, cache, positions, mask), cache

    function = from_step(step, params=params, init_cache=lambda rows, slots: jnp.zeros((rows, slots, 4, 2)))
    return split_equations(trace_phase(function, "decode", batch_size=3, chunk=1, max_len=5))


def names(equations: Any) -> list[str]:
    return [e.primitive.name for e in equations]


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_equation_is_in_one_list_in_execution_order(name: str) -> None:
    phase, split = decode_of(SPELLINGS[name])
    order = {id(e): i for i, e in enumerate(phase.equations)}
    lists = [[order[id(e)] for e in part] for part in (split.index, split.param, split.data)]
    assert sorted(lists[0] + lists[1] + lists[2]) == list(range(len(phase.equations)))
    assert all(part == sorted(part) for part in lists)


@pytest.mark.parametrize("name", SPELLINGS)
def test_index_arithmetic_reads_no_parameter_no_cache_and_no_data(name: str) -> None:
    phase, split = decode_of(SPELLINGS[name])
    others = {v for e in (*split.data, *split.param) for v in e.outvars}
    others |= {i.var for i in phase.inputs if i.role in ("param", "cache", "rng")}
    assert others.isdisjoint(v for e in split.index for v in variables(e.invars))
    assert others.isdisjoint(split.index_vars)


def test_masks_and_positions_and_constants_are_index_arithmetic() -> None:
    split = split_of(
        lambda p, tokens, cache, at, mask: cache[:, :1, 0] * jnp.sin(TABLE[at] + mask[:, :1])[..., None]
    )
    assert "sin" in names(split.index)
    assert "gather" in names(split.index)
    assert "mul" in names(split.data)
    assert split.param == ()


def test_cheap_functions_of_parameters_alone_carry_the_parameters_name() -> None:
    split = split_of(
        lambda p, tokens, cache, at, mask: cache[:, :1, :, 0] @ (p["a"].T.astype("float32") * 2 + 1),
        a=jnp.zeros((6, 4), "float16"),
    )
    assert names(split.param) == ["transpose", "convert_element_type", "mul", "add"]
    assert {split.param_vars[v] for e in split.param for v in e.outvars} == {"a"}
    assert names(split.data)[-1] == "dot_general"


@pytest.mark.parametrize("heavy", [jnp.exp, lambda w: w @ w, lambda w: w.sum(0)[:, None]])
def test_work_on_parameters_is_data(heavy: Any) -> None:
    """It would be repeated in every op that reads the result."""
    split = split_of(
        lambda p, tokens, cache, at, mask: cache[:, :1, :, 0] @ heavy(p["a"]), a=jnp.zeros((4, 4))
    )
    assert split.param == ()


def test_what_mixes_parameters_and_positions_is_data() -> None:
    split = split_of(lambda p, tokens, cache, at, mask: p["a"] * at[..., None], a=jnp.zeros((4,)))
    assert names(split.data) == ["mul"]


def test_random_keys_are_parameters() -> None:
    split = split_of(
        lambda p, tokens, cache, at, mask: jax.random.normal(p["key"], (3, 1, 4)), key=jax.random.key(0)
    )
    assert "key" in split.param_vars.values()
    assert "random_bits" in names(split.data)


def test_an_effect_is_no_index_arithmetic() -> None:
    """What prints must not be repeated."""

    def logits(p: Any, tokens: Any, cache: Any, at: Any, mask: Any) -> Any:
        jax.debug.callback(print, at)
        return cache[:, :1, :, 0]

    split = split_of(logits)
    assert len([e for e in split.data if e.effects]) == 1
    assert not any(e.effects for e in split.index)
