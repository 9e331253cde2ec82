"""Small models with random weights, the systems they are planned for, and the plain jit loop that sessions are held to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx
from jax import numpy as jnp

from cost_models import HardwareSpec
from models import Transformer, TransformerConfig
from partitioner import Plan, Workload, partition
from partitioner.frontend import StepFunction, adapt, from_step

VOCAB = 101
WORKLOAD = Workload(batch_size=4, prompt_len=12, decode_len=10)
PROMPTS = [[5, 9, 77, 31, 2], list(range(20, 32)), [3]]


@cache
def transformer(
    kv_dtype: str = "float32",
    *,
    num_kv_heads: int = 4,
    position: Literal["rotary", "learned"] = "rotary",
    head_size: int = 8,
    num_layers: int = 2,
    dtype: str = "float32",
    seed: int = 0,
) -> Transformer:
    """A Llama-like or (with learned positions) OPT-like decoder."""
    learned = position == "learned"
    config = TransformerConfig.named("tiny").replace(
        name="small",
        vocab_size=VOCAB,
        hidden_size=32,
        num_layers=num_layers,
        num_heads=4,
        num_kv_heads=num_kv_heads,
        head_size=head_size,
        ffn_size=48,
        max_position=128,
        param_dtype=dtype,
        compute_dtype=dtype,
        kv_dtype=kv_dtype,
        position=position,
        norm="layernorm" if learned else "rmsnorm",
        activation="relu" if learned else "swiglu",
        tied_embedding=learned,
        qkv_bias=learned,
        out_bias=learned,
        mlp_bias=learned,
    )
    return Transformer(config, rngs=nnx.Rngs(seed))


class CountingDecoder(nnx.Module):
    """A decoder on Flax's own caching attention, which counts its position and takes one token a step."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(VOCAB, 32, rngs=rngs)
        self.place = nnx.Embed(128, 32, rngs=rngs)
        self.attentions = nnx.List(
            [
                nnx.MultiHeadAttention(num_heads=4, in_features=32, decode=True, rngs=rngs, dtype=jnp.float32)
                for _ in range(2)
            ]
        )
        self.head = nnx.Linear(32, VOCAB, rngs=rngs)

    def __call__(self, tokens: jax.Array, positions: jax.Array) -> jax.Array:
        x = self.embed(tokens) + self.place(positions)
        for attention in self.attentions:
            x = x + attention(x)
        return self.head(x)


@cache
def counting_decoder(seed: int = 1) -> CountingDecoder:
    return CountingDecoder(nnx.Rngs(seed))


@cache
def running_mean() -> StepFunction:
    """A step without attention: its state is the sum of what it has seen, and a count."""
    keys = jax.random.split(jax.random.key(2), 2)
    params = {
        "embed": jax.random.normal(keys[0], (VOCAB, 16)),
        "head": jax.random.normal(keys[1], (16, VOCAB)),
    }

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        total = cache["total"] + params["embed"][tokens[:, 0]]
        seen = cache["seen"] + 1
        return ((total / seen) @ params["head"])[:, None], {"total": total, "seen": seen}

    def init_cache(batch_size: int, max_len: int) -> Any:
        return {"total": jnp.zeros((batch_size, 16)), "seen": jnp.zeros((), jnp.int32)}

    return from_step(step, params=params, init_cache=init_cache, max_chunk=1, name="running mean")


@cache
def biased_attention() -> StepFunction:
    """A decoder layer whose attention adds a learned bias per head and slot, so that no drive can run it."""
    shapes = {"embed": (VOCAB, 32), "head": (32, VOCAB), "bias": (4, 64)}
    shapes |= {name: (32, 32) for name in ("query", "key", "value", "out")}
    keys = jax.random.split(jax.random.key(3), len(shapes))
    params = {
        name: jax.random.normal(key, shape) / shape[0] ** 0.5
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        x = params["embed"][tokens]
        query, key, value = (
            (x @ params[name]).reshape(*tokens.shape, 4, 8) for name in ("query", "key", "value")
        )
        write = jax.vmap(lambda row, new, start: jax.lax.dynamic_update_slice(row, new, (start, 0, 0)))
        keys, values = (
            write(cache["key"], key, positions[:, 0]),
            write(cache["value"], value, positions[:, 0]),
        )
        slots = jnp.arange(keys.shape[1])
        visible = (slots <= positions[:, :, None]) & mask[:, None, :]
        logits = jnp.einsum("bthd,bshd->bhts", query, keys) * 8**-0.5 + params["bias"][:, None, slots]
        weights = jax.nn.softmax(jnp.where(visible[:, None], logits, -jnp.inf), axis=-1)
        x = x + jnp.einsum("bhts,bshd->bthd", weights, values).reshape(x.shape) @ params["out"]
        return x @ params["head"], {"key": keys, "value": values}

    def init_cache(batch_size: int, max_len: int) -> Any:
        return {name: jnp.zeros((batch_size, max_len, 4, 8)) for name in ("key", "value")}

    return from_step(step, params=params, init_cache=init_cache, name="biased attention")


@cache
def demo_hardware(num_drives: int = 1) -> HardwareSpec:
    return HardwareSpec.load("demo").with_drives(num_drives)


@cache
def plan_for(model: Any, policy: str, num_drives: int = 1, workload: Workload = WORKLOAD) -> Plan:
    return partition(model, demo_hardware(num_drives), workload, policy)


@cache
def plain_step(model: Any) -> tuple[StepFunction, Any]:
    """Returns a model's step, and the same compiled."""
    function = model if isinstance(model, StepFunction) else adapt(model)
    return function, jax.jit(function.step)


class PlainRow:
    """One sequence, token by token, through nothing but the model and ``jax.jit``."""

    def __init__(self, model: Any, max_len: int) -> None:
        self._function, self._step = plain_step(model)
        self._state = self._function.init_state(1, max_len)
        self._max_len = max_len
        self.length = 0

    def feed(self, token: int) -> jax.Array:
        """Returns the logits ``[1, 1, vocab]`` behind one more token."""
        logits, self._state = self._step(
            self._function.params,
            np.array([[token]], np.int32),
            self._state,
            np.array([[self.length]], np.int32),
            np.arange(self._max_len)[None] <= self.length,
            np.zeros(1, np.int32),
        )
        self.length += 1
        return logits


@dataclass(frozen=True)
class Reference:
    """What the plain model generates.

    Attributes:
        tokens: New tokens of each prompt.
        margin: Smallest lead of a chosen token's logit over the next best, in standard deviations of the step's logits.
    """

    tokens: list[list[int]]
    margin: float


def plain_run(model: Any, prompts: Sequence[Sequence[int]], num_tokens: int, max_len: int) -> Reference:
    """Generates greedily with nothing but the model and ``jax.jit``, each prompt by itself and token by token."""
    rows: list[list[int]] = []
    margins: list[float] = []
    for prompt in prompts:
        row, made = PlainRow(model, max_len), []
        for token in prompt[:-1]:
            row.feed(token)
        newest = prompt[-1]
        for _ in range(num_tokens):
            values = np.asarray(row.feed(newest)[0, -1], np.float32)
            second, best = np.sort(values)[-2:]
            margins.append(float((best - second) / values.std()))
            newest = int(values.argmax())
            made.append(newest)
        rows.append(made)
    return Reference(rows, min(margins))


def plain_tokens(
    model: Any, prompts: Sequence[Sequence[int]], num_tokens: int, max_len: int
) -> list[list[int]]:
    """Returns the tokens of :func:`plain_run`."""
    return plain_run(model, prompts, num_tokens, max_len).tokens
