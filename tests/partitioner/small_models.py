"""Small decoders of every kind that the front end takes, and what turns them into op graphs."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen, nnx
from jax import numpy as jnp

from cost_models import HardwareSpec
from models import Transformer, TransformerConfig
from partitioner import Workload
from partitioner.front import Traced, trace_model
from partitioner.frontend import StepFunction, adapt, from_step
from partitioner.ir.graph import OpGraph

VOCAB, HIDDEN, HEADS, NUM_LAYERS = 40, 24, 4, 2
HEAD_SIZE = HIDDEN // HEADS

Project = Callable[[Any, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]
"""From weights and ``[batch, tokens, hidden]`` to q, k and v of the same shape."""

_SIZES = {
    "vocab_size": 48,
    "hidden_size": 32,
    "num_layers": 1,
    "head_size": 8,
    "ffn_size": 40,
    "max_position": 64,
    "param_dtype": "float32",
    "compute_dtype": "float32",
    "kv_dtype": "float16",
}
OPT = TransformerConfig.named("opt-125m").replace(name="small-opt", num_heads=4, num_kv_heads=4, **_SIZES)
LLAMA = TransformerConfig.named("llama-3-8b").replace(
    name="small-llama", num_heads=4, num_kv_heads=2, **_SIZES
)


class MhaDecoder(nnx.Module):
    """A decoder on ``nnx.MultiHeadAttention``; without ``decode`` it attends causally over whole sequences."""

    def __init__(self, *, decode: bool = True) -> None:
        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(VOCAB, HIDDEN, rngs=rngs)
        layers = [nnx.MultiHeadAttention(HEADS, HIDDEN, decode=decode, rngs=rngs) for _ in range(NUM_LAYERS)]
        self.attention = nnx.List(layers)
        self.out = nnx.Linear(HIDDEN, VOCAB, rngs=rngs)
        self.decode = decode

    def __call__(self, tokens: jax.Array) -> jax.Array:
        mask = None if self.decode else nnx.make_causal_mask(tokens)
        x = self.embed(tokens)
        for attention in self.attention:
            x = x + attention(x, mask=mask)
        return self.out(x)


class LinenDecoder(linen.Module):
    """The same in Linen."""

    decode: bool = True

    @linen.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        mask = None if self.decode else linen.make_causal_mask(tokens)
        x = linen.Embed(VOCAB, HIDDEN)(tokens)
        for _ in range(NUM_LAYERS):
            x = x + linen.MultiHeadDotProductAttention(HEADS, decode=self.decode)(x, mask=mask)
        return linen.Dense(VOCAB)(x)


def linen_variables() -> dict[str, Any]:
    return LinenDecoder().init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))


def plain_params() -> dict[str, jax.Array]:
    shapes = {"embed": (VOCAB, HIDDEN), "head": (HIDDEN, VOCAB)}
    shapes |= {name: (HIDDEN, HIDDEN) for name in ("query", "key", "value", "out")}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return {n: jax.random.normal(k, s) / s[0] ** 0.5 for k, (n, s) in zip(keys, shapes.items(), strict=True)}


def plain_cache(batch_size: int, max_len: int) -> dict[str, jax.Array]:
    empty = jnp.zeros((batch_size, max_len, HEADS, HEAD_SIZE))
    return {"keys": empty, "values": empty}


def decoder_step(project: Project) -> Callable[..., tuple[Any, Any]]:
    """Returns a decoder as a plain function: cache [batch, slots, heads, head_size], valid slots from the mask."""

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        x = params["embed"][tokens]
        heads = (*tokens.shape, HEADS, HEAD_SIZE)
        query, key, value = (a.reshape(heads) for a in project(params, x))
        append = jax.vmap(lambda row, new, start: jax.lax.dynamic_update_slice(row, new, (start, 0, 0)))
        keys = append(cache["keys"], key, positions[:, 0])
        values = append(cache["values"], value, positions[:, 0])
        logits = jnp.einsum("bthd,bshd->bhts", query, keys) * HEAD_SIZE**-0.5
        causal = jnp.arange(keys.shape[1])[None, None, :] <= positions[:, :, None]
        visible = (causal & mask[:, None, :])[:, None]
        weights = jax.nn.softmax(jnp.where(visible, logits, -jnp.inf), axis=-1)
        attended = jnp.einsum("bhts,bshd->bthd", weights, values).reshape(x.shape)
        return (x + attended @ params["out"]) @ params["head"], {"keys": keys, "values": values}

    return step


def plain_project(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Projects as usual."""
    return x @ params["query"], x @ params["key"], x @ params["value"]


plain_step = decoder_step(plain_project)


def plain_function() -> StepFunction:
    return from_step(plain_step, params=plain_params(), init_cache=plain_cache, name="plain")


def abstract_transformer(config: TransformerConfig) -> Transformer:
    return nnx.eval_shape(lambda: Transformer(config, rngs=nnx.Rngs(0)))


def traced(model: Any, batch_size: int = 2, prompt_len: int = 6, decode_len: int = 4) -> Traced:
    return trace_model(
        adapt(model), HardwareSpec.load("a6000-csd"), Workload(batch_size, prompt_len, decode_len)
    )


def decode_graph(model: Any, **lengths: int) -> OpGraph:
    return traced(model, **lengths).graphs[-1]
