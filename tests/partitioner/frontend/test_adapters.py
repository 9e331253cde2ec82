"""Models of all kinds become one step function that computes what the model computes, token by token."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from jax import numpy as jnp

from models import Transformer, abstract
from models.training.forward import training_logits
from partitioner.frontend import StepFunction, adapt, from_linen, trace_phase
from tests.partitioner.small_models import (
    HEAD_SIZE,
    LLAMA,
    NUM_LAYERS,
    VOCAB,
    LinenDecoder,
    MhaDecoder,
    linen_variables,
    plain_function,
    plain_params,
)

BATCH, LENGTH = 2, 6


fast_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": "0"})


def uncached_plain(tokens: jax.Array) -> jax.Array:
    """The plain step over whole sequences, without a cache and with the library's causal attention."""
    params = plain_params()
    x = params["embed"][tokens]
    heads = [(x @ params[n]).reshape(*tokens.shape, -1, HEAD_SIZE) for n in ("query", "key", "value")]
    attended = jax.nn.dot_product_attention(*heads, is_causal=True)
    return (x + attended.reshape(x.shape) @ params["out"]) @ params["head"]


def uncached_nnx(tokens: jax.Array) -> jax.Array:
    return MhaDecoder(decode=False)(tokens)


def uncached_linen(tokens: jax.Array) -> jax.Array:
    variables = {"params": linen_variables()["params"]}
    return LinenDecoder(decode=False).apply(variables, tokens)


TRANSFORMER = Transformer(LLAMA.replace(num_layers=2, kv_dtype="float32"), rngs=nnx.Rngs(0))
KINDS: dict[str, tuple[Callable[[], Any], Callable[[jax.Array], Any]]] = {
    "transformer": (lambda: TRANSFORMER, lambda t: training_logits(TRANSFORMER, t, kernel="xla")),
    "nnx-attention": (MhaDecoder, uncached_nnx),
    "linen": (lambda: (LinenDecoder(), linen_variables()), uncached_linen),
    "plain": (plain_function, uncached_plain),
}


def generate(function: StepFunction, tokens: jax.Array, chunks: list[int]) -> np.ndarray:
    """Feeds tokens in chunks through the step and returns the logits of the last token of each chunk."""
    step = fast_jit(function.step)
    state = function.init_state(BATCH, LENGTH)
    last = []
    start = 0
    for chunk in chunks:
        positions = jnp.broadcast_to(jnp.arange(start, start + chunk), (BATCH, chunk))
        mask = jnp.broadcast_to(jnp.arange(LENGTH) < start + chunk, (BATCH, LENGTH))
        at = jnp.full((BATCH,), chunk - 1)
        given = tokens[:, start : start + chunk]
        logits, state = step(function.params, given, state, positions, mask, at)
        last.append(logits[:, -1])
        start += chunk
    return np.stack(last, axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapted_model_computes_what_the_uncached_model_computes(kind: str) -> None:
    make, uncached = KINDS[kind]
    function = adapt(make())
    tokens = jax.random.randint(jax.random.key(1), (BATCH, LENGTH), 0, VOCAB)
    chunks = [1] * LENGTH if function.max_chunk == 1 else [3, 1, 1, 1]
    ends = np.cumsum(chunks) - 1
    # float32 throughout; sums of some 50 terms in another order differ by some 50 * 2^-24 = 3e-6 of values near 1
    np.testing.assert_allclose(
        generate(function, tokens, chunks),
        np.asarray(fast_jit(uncached)(tokens))[:, ends],
        rtol=1e-4,
        atol=2e-5,
    )


CACHES = {
    "transformer": [(f"{n}.{k}", "cache") for n in range(2) for k in ("key", "value")],
    "nnx-attention": [
        (f"attention.{n}.{k}", role)
        for n in range(NUM_LAYERS)
        for k, role in (("cache_index", "cursor"), ("cached_key", "cache"), ("cached_value", "cache"))
    ],
    "linen": [
        (f"MultiHeadDotProductAttention_{n}.{k}", role)
        for n in range(NUM_LAYERS)
        for k, role in (("cache_index", "cursor"), ("cached_key", "cache"), ("cached_value", "cache"))
    ],
    "plain": [("keys", "cache"), ("values", "cache")],
}
A_PARAM = {
    "transformer": "blocks.1.attention.query.kernel",
    "nnx-attention": "attention.1.query.kernel",
    "linen": "params.MultiHeadDotProductAttention_1.query.kernel",
    "plain": "query",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_input_and_output_has_a_name_and_a_role(kind: str) -> None:
    function = adapt(KINDS[kind][0]())
    phase = trace_phase(function, "decode", batch_size=3, chunk=1, max_len=7)
    roles = {i.name: i.role for i in phase.inputs}
    assert len(roles) == len(phase.inputs)
    assert [(n, r) for n, r in roles.items() if r in ("cache", "cursor")] == CACHES[kind]
    assert [(o.name, o.role) for o in phase.outputs] == [("logits", "logits"), *CACHES[kind]]
    assert {n: roles[n] for n in ("tokens", "positions", "mask", "logits_at")} == {
        "tokens": "token",
        "positions": "position",
        "mask": "mask",
        "logits_at": "position",
    }
    params = [n for n, r in roles.items() if r == "param"]
    assert A_PARAM[kind] in params
    assert len(params) == len(jax.tree.leaves(function.params))


def test_token_by_token_models_say_so() -> None:
    assert [adapt(make()).max_chunk for make, _ in KINDS.values()] == [None, 1, 1, None]


def test_only_a_model_that_takes_logits_at_is_asked_for_one_position() -> None:
    transformer = trace_phase(adapt(TRANSFORMER), "prefill", batch_size=2, chunk=5, max_len=5)
    plain = trace_phase(plain_function(), "prefill", batch_size=2, chunk=5, max_len=5)
    assert transformer.outputs[0].atom.aval.shape == (2, 1, LLAMA.vocab_size)
    assert plain.outputs[0].atom.aval.shape == (2, 5, VOCAB)


def test_abstract_models_are_traced_like_real_ones() -> None:
    real = trace_phase(adapt(MhaDecoder()), "decode", batch_size=2, chunk=1, max_len=7)
    shapes = trace_phase(adapt(nnx.eval_shape(MhaDecoder)), "decode", batch_size=2, chunk=1, max_len=7)
    assert [(i.name, str(i.var.aval)) for i in shapes.inputs] == [
        (i.name, str(i.var.aval)) for i in real.inputs
    ]
    assert [e.primitive for e in shapes.equations] == [e.primitive for e in real.equations]


def test_adapting_leaves_the_users_model_as_it_was() -> None:
    model = MhaDecoder()
    before = str(nnx.state(model))
    trace_phase(adapt(model), "decode", batch_size=2, chunk=1, max_len=7)
    assert str(nnx.state(model)) == before


def test_tracing_a_large_abstract_model_allocates_no_weight() -> None:
    model = abstract("opt-175b", num_layers=1)
    phase = trace_phase(adapt(model), "decode", batch_size=2, chunk=1, max_len=8)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(nnx.state(model)))
    assert all(i.value is None for i in phase.inputs)


class PositionedDecoder(LinenDecoder):
    """Takes positions, and adds a sine of them."""

    def __call__(self, tokens: jax.Array, positions: jax.Array) -> jax.Array:
        return super().__call__(tokens) + jnp.sin(positions)[..., None]


def test_a_linen_module_gets_the_arguments_it_names() -> None:
    function = from_linen(PositionedDecoder(), linen_variables())
    assert function.name == "PositionedDecoder"
    step = fast_jit(function.step)
    state = function.init_state(BATCH, LENGTH)
    tokens = jnp.ones((BATCH, 1), jnp.int32)
    mask, at = jnp.ones((BATCH, LENGTH), bool), jnp.zeros((BATCH,), jnp.int32)
    low, high = (step(function.params, tokens, state, jnp.full((BATCH, 1), p), mask, at)[0] for p in (0, 3))
    # the two differ by sin(3) - sin(0); float32 sums near 1 round at 6e-8
    np.testing.assert_allclose(high - low, np.sin(3.0), atol=1e-5)


def test_a_phase_prints_its_sizes_and_inputs_but_not_its_weights() -> None:
    phase = trace_phase(plain_function(), "decode", batch_size=3, chunk=1, max_len=7)
    assert str(phase).splitlines() == [
        "decode: batch 3, chunk 1, cache 7",
        "  token    tokens: int32[3,1]",
        "  cache    keys: float32[3,7,4,6]",
        "  cache    values: float32[3,7,4,6]",
        "  position positions: int32[3,1]",
        "  mask     mask: bool[3,7]",
        "  position logits_at: int32[3]",
        f"  {len(phase.equations)} equations",
    ]
