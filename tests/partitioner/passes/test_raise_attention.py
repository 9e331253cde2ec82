"""Attention is raised however it is spelled, with its attributes; what only looks like it stays, with the reason."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from partitioner.errors import ModelError
from partitioner.frontend import TracedPhase, from_step, trace_phase
from partitioner.ir.op import Attention
from partitioner.jaxpr import shape_of
from partitioner.passes import confirm_attention, raise_attention
from partitioner.passes.raise_attention import raise_decode_attention
from partitioner.passes.split_equations import split_equations
from tests.partitioner.passes.attribute_spellings import ATTRIBUTE_SPELLINGS
from tests.partitioner.passes.golden import assert_golden
from tests.partitioner.passes.near_misses import NEAR_MISSES
from tests.partitioner.passes.spellings import (
    HEAD_SIZE,
    HEADS,
    SPELLINGS,
    Spelling,
    append_rows,
    from_table,
    layered,
    plain_attend,
    visible,
)
from tests.partitioner.passes.traces import (
    BATCH,
    PROMPT,
    decode_of,
    no_trace,
    prefill_of,
    raised_of,
    raised_prefill_of,
    show_layout,
)

ALL = SPELLINGS | ATTRIBUTE_SPELLINGS
IN_PREFILL = [name for name, spelling in ALL.items() if not spelling.one_token]


def attributes(attention: Attention) -> tuple[Any, ...]:
    a = attention
    return a.layer, a.key_cache, a.value_cache, a.num_heads, a.num_kv_heads, a.head_size, a.cache_dtype


def expected(spelling: Spelling) -> tuple[Any, ...]:
    return 0, "k", "v", HEADS, spelling.kv_heads, HEAD_SIZE, spelling.dtype


def assert_rule(attention: Attention, spelling: Spelling) -> None:
    # a scale or a cap that is a number of the model's is found as that number, not as a measurement of it
    assert attention.scale == pytest.approx(spelling.scale, rel=1e-7)
    assert attention.soft_cap == spelling.soft_cap
    assert attention.window == spelling.window
    assert_slopes(attention, spelling, 1e-5)  # float32 weights of tokens up to 63 apart


def assert_slopes(attention: Attention, spelling: Spelling, rel: float) -> None:
    if spelling.slopes is None:
        assert attention.slopes is None
    else:
        assert attention.slopes == pytest.approx(spelling.slopes, rel=rel)


@pytest.mark.parametrize("name", ALL)
def test_every_spelling_is_raised_in_the_decode(name: str) -> None:
    raised, unraised = raised_of(ALL[name])
    assert unraised == ()
    assert [attributes(r.attention) for r in raised] == [expected(ALL[name])]
    assert_rule(raised[0].attention, ALL[name])


@pytest.mark.parametrize("name", IN_PREFILL)
def test_every_spelling_is_raised_in_the_prefill(name: str) -> None:
    phase, _ = prefill_of(ALL[name])
    raised, lost = raised_prefill_of(ALL[name])
    assert lost == ()
    assert [attributes(r.attention) for r in raised] == [expected(ALL[name])]
    assert_rule(raised[0].attention, ALL[name])
    made = {v for e in raised[0].equations for v in e.outvars}
    assert {o.atom for o in phase.outputs if o.role == "cache"} <= made
    assert shape_of(raised[0].attention.new_key)[0] == BATCH
    assert PROMPT in shape_of(raised[0].attention.new_key)


def test_layouts_of_the_spellings() -> None:
    rows = []
    for name, spelling in ALL.items():
        attention = raised_of(spelling)[0][0].attention
        rows += [f"{name}: {attention}"]
        rows += [
            f"  {part:6} {show_layout(getattr(attention, f'{part}_layout'))}"
            for part in ("query", "new", "cache", "output")
        ]
    assert_golden("spellings", "\n".join(rows))


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_a_near_miss_is_left_with_the_reason(name: str) -> None:
    raised, unraised = raised_of(NEAR_MISSES[name])
    assert raised == ()
    assert unraised[0].name == "k"
    with pytest.raises(ValueError, match=NEAR_MISSES[name].reason):
        raise ValueError(unraised[0].reason)


@pytest.mark.parametrize("name", [n for n in ALL if n != "closing_over_arrays"])
def test_large_sizes_are_shrunk_rather_than_traced_again(name: str) -> None:
    """Slopes are found the more exactly, the longer the cache is."""
    raised, unraised = raise_decode_attention(*decode_of(ALL[name], 64, 4096), no_trace)
    assert unraised == ()
    small = raised_of(ALL[name])[0][0].attention
    variables = {f: getattr(small, f) for f in ("query", "new_key", "new_value", "output", "slopes")}
    assert dataclasses.replace(raised[0].attention, **variables) == small
    assert_slopes(raised[0].attention, ALL[name], 1e-6)


@pytest.mark.parametrize("name", ["einsum_slots_first", "matmul_heads_first", "grouped_by_repeat"])
def test_sizes_that_cannot_be_told_apart_are_traced_again(name: str) -> None:
    asked = []

    def trace(batch: int, length: int) -> TracedPhase:
        asked.append((batch, length))
        return decode_of(SPELLINGS[name], batch, length)[0]

    raised, _ = raise_decode_attention(*decode_of(SPELLINGS[name], HEAD_SIZE, HEAD_SIZE), trace)
    assert attributes(raised[0].attention) == expected(SPELLINGS[name])
    assert len(asked) == 1
    assert len({*asked[0], HEADS, SPELLINGS[name].kv_heads, HEAD_SIZE}) >= 4


def test_rows_as_many_as_heads_are_traced_again_once_at_full_length() -> None:
    """That trace tells how tokens are weighed at full length, and is shrunk further for the rest."""
    asked = []
    spelling = SPELLINGS["einsum_slots_first"]

    def trace(batch: int, length: int) -> TracedPhase:
        asked.append((batch, length))
        return decode_of(spelling, batch, length)[0]

    raised, _ = raise_decode_attention(*decode_of(spelling, HEAD_SIZE, 4096), trace)
    assert attributes(raised[0].attention) == expected(spelling)
    assert asked == [(5, 4096)]


@pytest.mark.parametrize(
    ("batch", "length", "window"), [(64, 4096, 40), (HEAD_SIZE, 41, 40), (3, 40, None), (40, 64, 40)]
)
def test_a_window_is_found_at_any_size(batch: int, length: int, window: int | None) -> None:
    """A probe of a few slots cannot see a window of 40 tokens; of 40 slots, it hides none."""
    wide = ATTRIBUTE_SPELLINGS["wide_window"]
    raised, _ = raise_decode_attention(*decode_of(wide, batch, length), lambda b, n: decode_of(wide, b, n)[0])
    assert raised[0].attention.window == window


def test_a_step_that_cannot_be_traced_small_is_left() -> None:
    def fail(batch: int, length: int) -> TracedPhase:
        raise ModelError("slots must be a multiple of 128")

    raised, unraised = raise_decode_attention(*decode_of(SPELLINGS["einsum_slots_first"], 8, 8), fail)
    assert raised == ()
    assert unraised[0].reason == (
        "the step cannot be run at a small batch and length: slots must be a multiple of 128"
    )


def test_a_step_that_traces_to_something_else_when_small_is_left() -> None:
    other, _ = decode_of(NEAR_MISSES["unused_cache"], 3, 7)
    raised, unraised = raise_decode_attention(
        *decode_of(SPELLINGS["einsum_slots_first"], 8, 8), lambda b, n: other
    )
    assert raised == ()
    assert unraised[0].reason == "the step traces differently at a small batch and length"


def trace_layers(masks: list[Any]) -> TracedPhase:
    return trace_phase(layered(masks), "decode", batch_size=2, chunk=1, max_len=16)


def test_a_layer_that_attends_to_another_layers_keys_is_left_with_its_equations() -> None:
    """Layer 1 has values of its own and reads the keys of layer 0, which no drive would find in its cache."""

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        x = params["embed"][tokens]
        after = {n: append_rows(cache[n], x * (2 + i), positions) for i, n in enumerate(cache)}
        for values in ("v0", "v1"):
            x = x + plain_attend(x, after["k0"], after[values], visible(16, positions))
        return x.reshape(*tokens.shape, -1), after

    shared = from_step(
        step,
        params={"embed": jax.ShapeDtypeStruct((32, 6, 8), jnp.float32)},
        init_cache=lambda rows, slots: {n: jnp.zeros((rows, slots, 6, 8)) for n in ("k0", "v0", "v1")},
    )
    phase = trace_phase(shared, "decode", batch_size=2, chunk=1, max_len=16)
    raised, unraised = raise_decode_attention(phase, split_equations(phase), no_trace)
    assert raised == ()
    keys = next(u.reason for u in unraised if u.name == "k0")
    with pytest.raises(
        ValueError, match=r"enters 2 contractions .* is read in: .*dot_general.*; .*dot_general"
    ):
        raise ValueError(keys)


def test_equal_layers_are_confirmed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    confirmed = []

    def count(region: Any, layout: Any, rule: Any) -> None:
        confirmed.append(region)

    monkeypatch.setattr(confirm_attention, "validate_attention", count)
    phase = trace_layers([visible] * 3)
    raised, _ = raise_decode_attention(phase, split_equations(phase), no_trace)
    assert [(r.attention.layer, r.attention.key_cache) for r in raised] == [(0, "k0"), (1, "k1"), (2, "k2")]
    assert len(confirmed) == 1


def test_layers_that_differ_in_an_array_alone_are_confirmed_each() -> None:
    causal = np.tril(np.ones((16, 16), bool))
    window = causal & ~np.tril(np.ones((16, 16), bool), -3)
    phase = trace_layers([from_table(causal), from_table(window)])
    raised, unraised = raise_decode_attention(phase, split_equations(phase), no_trace)
    assert unraised == ()
    assert [(r.attention.key_cache, r.attention.window) for r in raised] == [("k0", None), ("k1", 3)]


def test_a_prefill_whose_cache_cannot_be_followed_is_reported() -> None:
    raised = raised_of(SPELLINGS["einsum_slots_first"])[0]
    phase, split = decode_of(NEAR_MISSES["shifted_cache"])
    found, lost = raise_attention.raise_prefill_attention(phase, split, raised)
    assert found == ()
    assert [(u.name, u.reason) for u in lost] == [
        (
            "k",
            "in the prefill the cache is not written by dynamic_update_slice, scatter or select, but by `concatenate`",
        )
    ]
