"""Decoders whose layers attend by rules of their own: soft caps, windows, biases by distance, numbers of KV heads."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
from jax import numpy as jnp

from partitioner.frontend import StepFunction, from_step

VOCAB, HEADS, HEAD_SIZE, HIDDEN = 101, 4, 8, 32


@dataclass(frozen=True)
class Rule:
    """How a layer attends: see ``partitioner.ir.op.Attention``; KV heads are the decoder's unless given."""

    soft_cap: float | None = None
    window: int | None = None
    slopes: tuple[float, ...] | None = None
    kv_heads: int | None = None

    def __str__(self) -> str:
        return f"cap {self.soft_cap} window {self.window} slopes {self.slopes is not None}"


ALIBI = tuple(2.0 ** (-2 * (h + 1)) for h in range(HEADS))
"""Press et al. 2022, for 4 heads."""


@cache
def ruled_decoder(rules: tuple[Rule, ...], num_kv_heads: int = HEADS, seed: int = 5) -> StepFunction:
    """Returns a decoder of one layer per rule."""
    heads = [rule.kv_heads or num_kv_heads for rule in rules]
    shapes: dict[str, tuple[int, ...]] = {"embed": (VOCAB, HIDDEN), "head": (HIDDEN, VOCAB)}
    for n, kv_size in enumerate(h * HEAD_SIZE for h in heads):
        shapes |= {f"q{n}": (HIDDEN, HIDDEN), f"k{n}": (HIDDEN, kv_size), f"v{n}": (HIDDEN, kv_size)}
        shapes[f"o{n}"] = (HIDDEN, HIDDEN)
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    params = {
        name: jax.random.normal(key, shape) * (3.0 if name[0] in "qk" else 1.0) / shape[0] ** 0.5
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }

    def step(params: Any, tokens: Any, state: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        x = params["embed"][tokens] * 4
        after = {}
        for n, rule in enumerate(rules):
            query = (x @ params[f"q{n}"]).reshape(*tokens.shape, heads[n], -1, HEAD_SIZE)
            key, value = ((x @ params[f"{c}{n}"]).reshape(*tokens.shape, heads[n], HEAD_SIZE) for c in "kv")
            write = jax.vmap(lambda row, new, start: jax.lax.dynamic_update_slice(row, new, (start, 0, 0)))
            keys, values = (
                write(state[f"{c}{n}"], new, positions[:, 0]) for c, new in (("key", key), ("value", value))
            )
            after |= {f"key{n}": keys, f"value{n}": values}
            logits = jnp.einsum("btkgd,bskd->bkgts", query, keys) * HEAD_SIZE**-0.5
            weights = _weights(rule, logits, positions, heads[n])
            out = jnp.einsum("bkgts,bskd->btkgd", weights, values).reshape(x.shape)
            x = x + out @ params[f"o{n}"]
        return x @ params["head"], after

    def init_cache(rows: int, slots: int) -> Any:
        return {
            f"{c}{n}": jnp.zeros((rows, slots, own, HEAD_SIZE))
            for n, own in enumerate(heads)
            for c in ("key", "value")
        }

    return from_step(step, params=params, init_cache=init_cache, name="ruled decoder")


def _weights(rule: Rule, logits: Any, positions: Any, num_kv_heads: int) -> Any:
    """Returns weights for logits [batch, kv_heads, group, chunk, slots]."""
    if rule.soft_cap is not None:
        logits = rule.soft_cap * jnp.tanh(logits / rule.soft_cap)
    distance = positions[:, :, None] - jnp.arange(logits.shape[-1])
    seen = distance >= 0
    if rule.window is not None:
        seen &= distance < rule.window
    if rule.slopes is not None:
        slopes = jnp.asarray(rule.slopes).reshape(num_kv_heads, -1, 1, 1)
        logits = logits - slopes * distance[:, None, None].astype(jnp.float32)
    return jax.nn.softmax(jnp.where(seen[:, None, None], logits, -1e30), axis=-1)
