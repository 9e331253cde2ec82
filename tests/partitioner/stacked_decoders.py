"""A decoder of two layers that keeps parameters and caches of all layers in one array each, in many ways.

Letters: ``L`` layers, ``B`` rows, ``S`` slots, ``H`` heads, ``D`` head size.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import linen, nnx
from jax import lax
from jax import numpy as jnp

from partitioner.frontend import StepFunction, adapt, from_step

VOCAB, HIDDEN, HEADS, LAYERS = 40, 32, 4, 2
HEAD_SIZE = HIDDEN // HEADS

Step = Callable[[Any, Any, Any, Any, Any], tuple[Any, Any]]


def layer(x: Any, params: Any, keys: Any, values: Any, positions: Any) -> tuple[Any, Any, Any]:
    """Runs one layer with caches [B, S, H, D]."""
    heads = (*x.shape[:2], HEADS, HEAD_SIZE)
    query, key, value = ((x @ params["attention"][n]).reshape(heads) for n in ("query", "key", "value"))
    append = jax.vmap(lambda row, new, at: lax.dynamic_update_slice(row, new, (at, 0, 0)))
    keys, values = append(keys, key, positions[:, 0]), append(values, value, positions[:, 0])
    x = x + _attend(query, keys, values, positions).reshape(x.shape) @ params["attention"]["out"]
    return x + jax.nn.relu(x @ params["up"]) @ params["down"], keys, values


def _attend(query: Any, keys: Any, values: Any, positions: Any) -> Any:
    logits = jnp.einsum("bthd,bshd->bhts", query, keys) * HEAD_SIZE**-0.5
    seen = (jnp.arange(keys.shape[1]) <= positions[:, :, None])[:, None]
    weights = jax.nn.softmax(jnp.where(seen, logits, -jnp.inf))
    return jnp.einsum("bhts,bshd->bthd", weights, values)


def scanned(params, tokens, cache, positions, mask):
    """``lax.scan`` over parameters and caches."""

    def body(x, of_layer):
        x, keys, values = layer(x, *of_layer, positions)
        return x, (keys, values)

    x, (keys, values) = lax.scan(
        body, params["embed"][tokens], (params["blocks"], cache["key"], cache["value"])
    )
    return x @ params["head"], {"key": keys, "value": values}


def scanned_under_remat(params, tokens, cache, positions, mask):
    """The same from the last layer to the first, under jit and remat, with K and V in one array [L, 2, B, S, H, D]."""

    @jax.checkpoint
    def body(x, of_layer):
        weights, cache = of_layer
        x, keys, values = layer(x, weights, cache[0], cache[1], positions)
        return x, jnp.stack([keys, values])

    run = jax.jit(lambda *given: lax.scan(body, *given, reverse=True))
    x, cache = run(params["embed"][tokens], (params["blocks"], cache["kv"]))
    return x @ params["head"], {"kv": cache}


def carried(params, tokens, cache, positions, mask):
    """Caches are carried along and indexed by the number of the layer, which is carried, too."""

    def body(carry, weights):
        x, keys, values, n = carry
        x, key, value = layer(
            x, weights, lax.dynamic_index_in_dim(keys, n, keepdims=False), values[n], positions
        )
        return (x, lax.dynamic_update_index_in_dim(keys, key, n, 0), values.at[n].set(value), n + 1), None

    start = (params["embed"][tokens], cache["key"], cache["value"], 0)
    (x, keys, values, _), _ = lax.scan(body, start, params["blocks"])
    return x @ params["head"], {"key": keys, "value": values}


def counted(params, tokens, cache, positions, mask):
    """``lax.fori_loop`` over the number of the layer, by which parameters are indexed as well."""

    def body(n, carry):
        x, keys, values = carry
        weights = jax.tree.map(lambda a: a[n], params["blocks"])
        x, key, value = layer(x, weights, keys[n], values[n], positions)
        return x, keys.at[n].set(key), values.at[n].set(value)

    x, keys, values = lax.fori_loop(0, LAYERS, body, (params["embed"][tokens], cache["key"], cache["value"]))
    return x @ params["head"], {"key": keys, "value": values}


def alternating(params, tokens, cache, positions, mask):
    """A conditional on the number of the layer, which is scanned: every other layer doubles its input."""

    def body(x, of_layer):
        weights, keys, values, n = of_layer
        x = lax.cond(n % 2 == 0, lambda x: x, lambda x: 2 * x, x)
        x, keys, values = layer(x, weights, keys, values, positions)
        return x, (keys, values)

    over = (params["blocks"], cache["key"], cache["value"], jnp.arange(LAYERS))
    x, (keys, values) = lax.scan(body, params["embed"][tokens], over)
    return x @ params["head"], {"key": keys, "value": values}


def looped(params, tokens, cache, positions, mask):
    """A Python loop that writes single tokens into [L, B, S, H, D] by scatters."""
    x, keys, values = params["embed"][tokens], cache["key"], cache["value"]
    rows, heads = jnp.arange(tokens.shape[0])[:, None], (*tokens.shape, HEADS, HEAD_SIZE)
    for n in range(LAYERS):
        weights = jax.tree.map(lambda a, n=n: a[n], params["blocks"]["attention"])
        query, key, value = ((x @ weights[m]).reshape(heads) for m in ("query", "key", "value"))
        keys, values = keys.at[n, rows, positions].set(key), values.at[n, rows, positions].set(value)
        x = x + _attend(query, keys[n], jnp.take(values, n, 0), positions).reshape(x.shape) @ weights["out"]
    return x @ params["head"], {"key": keys, "value": values}


def pairs(axis: int) -> Step:
    """Returns a decoder that keeps K and V of each layer in one array, with ``axis`` telling them apart."""

    def step(params, tokens, cache, positions, mask):
        x, after = params["embed"][tokens], []
        for n, pair in enumerate(cache["kv"]):
            weights = jax.tree.map(lambda a, n=n: a[n], params["blocks"])
            keys, values = (lax.index_in_dim(pair, m, axis, keepdims=False) for m in (0, 1))
            x, keys, values = layer(x, weights, keys, values, positions)
            after.append(jnp.stack([keys, values], axis))
        return x @ params["head"], {"kv": after}

    return step


def _stacks(rows: int, slots: int) -> Any:
    return {n: jnp.zeros((LAYERS, rows, slots, HEADS, HEAD_SIZE)) for n in ("key", "value")}


def _stacked_pairs(rows: int, slots: int) -> Any:
    return {"kv": jnp.zeros((LAYERS, 2, rows, slots, HEADS, HEAD_SIZE))}


def _pairs_of(axis: int) -> Callable[[int, int], Any]:
    def init(rows: int, slots: int) -> Any:
        shape = [rows, slots, HEADS, HEAD_SIZE]
        return {"kv": [jnp.zeros((*shape[:axis], 2, *shape[axis:])) for _ in range(LAYERS)]}

    return init


def params() -> Any:
    """Returns random parameters, those of the layers stacked."""
    generator = np.random.default_rng(5)

    def draw(*shape: int) -> np.ndarray:
        return (1.5 * generator.standard_normal(shape) * shape[-2] ** -0.5).astype(np.float32)

    attention = {n: draw(LAYERS, HIDDEN, HIDDEN) for n in ("query", "key", "value", "out")}
    up, down = draw(LAYERS, HIDDEN, 2 * HIDDEN), draw(LAYERS, 2 * HIDDEN, HIDDEN)
    blocks = {"attention": attention, "up": up, "down": down}
    return {"embed": draw(VOCAB, HIDDEN), "head": draw(HIDDEN, VOCAB), "blocks": blocks}


class _LinenLayer(linen.Module):
    @linen.compact
    def __call__(self, x: Any, _: Any) -> tuple[Any, None]:
        attention = linen.MultiHeadDotProductAttention(HEADS, decode=True, name="attention")
        x = x + attention(linen.LayerNorm(name="norm")(x))
        return x + linen.Dense(HIDDEN, name="down")(jax.nn.relu(linen.Dense(HIDDEN, name="up")(x))), None


class LinenScan(linen.Module):
    """``nn.scan`` under ``nn.remat``, with the cache collection scanned."""

    @linen.compact
    def __call__(self, tokens: Any) -> Any:
        x = linen.Embed(VOCAB, HIDDEN, name="embed")(tokens)
        axes = {"params": 0, "cache": 0}
        layers = linen.scan(
            linen.remat(_LinenLayer, prevent_cse=False), axes, split_rngs={"params": True}, length=LAYERS
        )
        x, _ = layers(name="blocks")(x, None)
        return linen.Dense(VOCAB, name="head")(x)


class _NnxLayer(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm = nnx.LayerNorm(HIDDEN, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(HEADS, HIDDEN, decode=True, rngs=rngs)
        self.up, self.down = nnx.Linear(HIDDEN, HIDDEN, rngs=rngs), nnx.Linear(HIDDEN, HIDDEN, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = x + self.attention(self.norm(x))
        return x + self.down(jax.nn.relu(self.up(x)))


class NnxScan(nnx.Module):
    """``nnx.scan`` over a module whose layers ``nnx.vmap`` made."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(VOCAB, HIDDEN, rngs=rngs)
        self.blocks = nnx.split_rngs(splits=LAYERS)(nnx.vmap(_NnxLayer))(rngs)
        self.head = nnx.Linear(HIDDEN, VOCAB, rngs=rngs)

    def __call__(self, tokens: Any) -> Any:
        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        def run(block: _NnxLayer, x: Any) -> Any:
            return block(x)

        return self.head(run(self.blocks, self.embed(tokens)))


def linen_scan() -> StepFunction:
    """Returns ``LinenScan`` with random parameters."""
    module = LinenScan()
    return adapt((module, {"params": module.init(jax.random.key(1), jnp.zeros((1, 4), jnp.int32))["params"]}))


def _plain(step: Step, init_cache: Callable[[int, int], Any]) -> Callable[[], StepFunction]:
    return lambda: from_step(step, params=params(), init_cache=init_cache)


STACKED: dict[str, Callable[[], StepFunction]] = {
    "lax.scan": _plain(scanned, _stacks),
    "lax.scan, reversed, K and V in one": _plain(scanned_under_remat, _stacked_pairs),
    "lax.scan, carried": _plain(carried, _stacks),
    "lax.scan, alternating": _plain(alternating, _stacks),
    "lax.fori_loop": _plain(counted, _stacks),
    "Python loop": _plain(looped, _stacks),
    "K and V in one, [2, B, S, H, D]": _plain(pairs(0), _pairs_of(0)),
    "K and V in one, [B, S, 2, H, D]": _plain(pairs(2), _pairs_of(2)),
    "nn.scan": linen_scan,
    "nnx.scan": lambda: adapt(NnxScan()),
}
"""Decoders whose stacks are to be taken apart, so that every layer is raised."""
