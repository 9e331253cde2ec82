"""Ops of layers that repeat earlier ones are those that looking through each layer gives; odd layers are looked through."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import pytest
from jax import numpy as jnp

from partitioner.equation_repeats import NOTHING
from partitioner.frontend import StepFunction, adapt, from_step, trace_phase
from partitioner.ir.graph import OpGraph
from partitioner.passes.group_ops import group_ops
from partitioner.passes.raise_attention import raise_decode_attention
from partitioner.passes.split_equations import SplitEquations, split_equations
from tests.partitioner.small_models import LLAMA, OPT, abstract_transformer
from tests.partitioner.stacked_decoders import HEAD_SIZE, HEADS, HIDDEN, VOCAB, layer

LAYERS, ROWS, SLOTS = 8, 3, 16
Between = Callable[[int, Any, list[Any]], Any]
"""From a layer's number, its result and all results before to what the next one reads."""


def decoder(
    between: Between = lambda n, x, before: x,
    *,
    weights: Callable[[int], int] = lambda n: n,
    widths: Callable[[int], int] = lambda n: 2 * HIDDEN,
) -> StepFunction:
    """Returns a decoder whose layers may differ.

    Args:
        between: What is done behind each layer.
        weights: The layer whose weights a layer has.
        widths: The hidden width of each layer.
    """

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        x = params["embed"][tokens]
        results, kept = [x], {}
        for n in range(LAYERS):
            own = f"layer{n}"
            x, keys, values = layer(x, params[f"layer{weights(n)}"], *cache[own], positions)
            kept[own] = [keys, values]
            x = between(n, x, results)
            results.append(x)
        return x @ params["head"], kept

    shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    square = shape((HIDDEN, HIDDEN))
    params: dict[str, Any] = {"embed": shape((VOCAB, HIDDEN)), "head": shape((HIDDEN, VOCAB))}
    for n in range(LAYERS):
        attention = dict.fromkeys(("query", "key", "value", "out"), square)
        up, down = shape((HIDDEN, widths(n))), shape((widths(n), HIDDEN))
        params[f"layer{n}"] = {"attention": attention, "up": up, "down": down}

    def init_cache(batch_size: int, max_len: int) -> Any:
        room = (batch_size, max_len, HEADS, HEAD_SIZE)
        return {f"layer{n}": [jnp.zeros(room), jnp.zeros(room)] for n in range(LAYERS)}

    return from_step(step, params=params, init_cache=init_cache)


DECODERS: dict[str, Callable[[], StepFunction]] = {
    "opt": lambda: adapt(abstract_transformer(OPT.replace(num_layers=LAYERS))),
    "llama": lambda: adapt(abstract_transformer(LLAMA.replace(num_layers=LAYERS))),
    "plain": decoder,
    "an odd layer": lambda: decoder(lambda n, x, before: jnp.tanh(x) if n == 5 else x),
    "every third is odd": lambda: decoder(lambda n, x, before: jnp.tanh(x) if n % 3 == 2 else x),
    "the first result everywhere": lambda: decoder(lambda n, x, before: x + before[min(1, n)]),
    "results of two layers before": lambda: decoder(lambda n, x, before: x + before[max(0, n - 1)]),
    "weights of all": lambda: decoder(weights=lambda n: 0),
    "weights of the layer before": lambda: decoder(weights=lambda n: n - (n == 6)),
    "weights in turns": lambda: decoder(weights=lambda n: n % 2),
    "a wide layer": lambda: decoder(widths=lambda n: (2 + (n == 6)) * HIDDEN),
}
HALF = ("opt", "llama", "plain", "the first result everywhere")
"""At least half of whose equations are known from earlier ones."""


@functools.cache
def split_of(name: str) -> SplitEquations:
    phase = trace_phase(DECODERS[name](), "decode", batch_size=ROWS, chunk=1, max_len=SLOTS)
    return split_equations(phase)


def graph_of(split: SplitEquations) -> OpGraph:
    raised, unraised = raise_decode_attention(split.phase, split, _no_probe)
    return group_ops(split.phase, split, raised, unraised)


def _no_probe(batch_size: int, max_len: int) -> Any:
    raise AssertionError("sizes can be told apart")


@pytest.mark.parametrize("name", DECODERS)
def test_what_is_repeated_is_what_looking_gives(name: str) -> None:
    split = split_of(name)
    looked = split_equations(split.phase)
    vars(looked)["repeats"] = NOTHING
    found, expected = graph_of(split), graph_of(looked)
    assert [op.name for op in found.ops] == [op.name for op in expected.ops]
    for op, other in zip(found.ops, expected.ops, strict=True):
        assert vars(op) == vars(other)
    if name in HALF:
        repeats = split.repeats
        assert repeats.end - repeats.first - repeats.period > len(split.phase.equations) / 2


def test_equations_repeat_with_what_they_read() -> None:
    split = split_of("plain")
    equations, repeats = split.phase.equations, split.repeats
    order, flow = split.phase.flow.order, split.phase.flow
    for n in range(repeats.first, repeats.end - repeats.period):
        one, other = equations[n], equations[n + repeats.period]
        assert one.primitive is other.primitive
        for v, w in zip(split.reads[id(one)], split.reads[id(other)], strict=True):
            makers = flow.maker.get(v), flow.maker.get(w)
            if v is w or None in makers:
                assert makers[0] is makers[1]
            else:
                assert order[id(makers[1])] - order[id(makers[0])] == repeats.period
    assert repeats.turn(repeats.first - 1) is None
    assert repeats.turn(repeats.end) is None
    assert repeats.turn(repeats.first + 2 * repeats.period + 3) == (repeats.first + 3, 2)
