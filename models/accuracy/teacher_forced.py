"""The pass over known tokens: the prompt attends exactly, every later token by a method.

Letters as in :mod:`models.accuracy`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jax import numpy as jnp

from models.accuracy.decode_layer import AttentionMethod, DecodeLayer, Reads, attend_by
from models.block import Block
from models.errors import EvaluationError
from models.rotary import rotary_angles
from models.transformer import Transformer


class PromptLayer(NamedTuple):
    """What a prompt leaves behind in a layer.

    Attributes:
        query: ``[B, K, G, P, D]``.
        keys: ``[B, K, P, D]``, as cached.
        values: ``[B, K, P, D]``, as cached.
    """

    query: jax.Array
    keys: jax.Array
    values: jax.Array


class Decoded(NamedTuple):
    """What the tokens behind a prompt give.

    Attributes:
        hidden: ``[B, Q, hidden_size]``, from which the token after each is predicted.
        reads: Of each layer.
    """

    hidden: jax.Array
    reads: tuple[Reads, ...]


class Predicted(NamedTuple):
    """What a model says of known tokens.

    Attributes:
        bits: float32 ``[B, Q]``, negative log2 likelihood of each.
        likeliest: int32 ``[B, Q]``, the token that greedy decoding would take.
    """

    bits: np.ndarray
    likeliest: np.ndarray


def prefill(model: Transformer, tokens: jax.Array) -> tuple[PromptLayer, ...]:
    """Lets a prompt attend exactly.

    Args:
        model: The model.
        tokens: int32 ``[B, P]``.
    """
    x, angles = _enter(model, tokens, 0)
    layers: list[PromptLayer] = []
    for block in model.blocks:
        x, layer = _prompt_layer(block, x, angles, model.config.kv_dtype)
        layers.append(layer)
    return tuple(layers)


def decode(
    model: Transformer,
    prompt: Sequence[PromptLayer],
    tokens: jax.Array,
    methods: Sequence[AttentionMethod],
) -> Decoded:
    """Lets the tokens behind a prompt attend, each layer by its method.

    Args:
        model: The model.
        prompt: As :func:`prefill` returned it.
        tokens: int32 ``[B, Q]``.
        methods: One for each layer.

    Raises:
        EvaluationError: A layer has a window that is shorter than the context: all methods choose among all tokens.
    """
    prompt_len = prompt[0].keys.shape[2]
    window, context = model.config.window, prompt_len + tokens.shape[1]
    if window is not None and window < context:
        raise EvaluationError(
            f"{model.config.name} attends within windows of {window} tokens, which a context of {context} exceeds; give a "
            f"context of at most {window}"
        )
    x, angles = _enter(model, tokens, prompt_len)
    reads: list[Reads] = []
    for block, before, method in zip(model.blocks, prompt, methods, strict=True):
        output, read = attend_by(method, _decode_layer(block, x, angles, before))
        x = _leave(block, x, output)
        reads.append(read)
    return Decoded(x, tuple(reads))


def predict(model: Transformer, decoded: Decoded, targets: np.ndarray) -> Predicted:
    """Returns what a model says of the tokens that follow.

    Args:
        model: The model.
        decoded: As :func:`decode` returned it.
        targets: Integer ``[B, Q]``, the token after each.
    """
    bits, likeliest = _predict(model, decoded.hidden, jnp.asarray(targets, jnp.int32))
    return Predicted(np.asarray(bits), np.asarray(likeliest))


def _enter(model: Transformer, tokens: jax.Array, first: int) -> tuple[jax.Array, jax.Array | None]:
    positions = jnp.broadcast_to(first + jnp.arange(tokens.shape[1]), tokens.shape)
    angles = rotary_angles(model.config, positions) if model.config.position == "rotary" else None
    return model.embed(tokens, positions), angles


@nnx.jit(static_argnums=3)
def _prompt_layer(
    block: Block, x: jax.Array, angles: jax.Array | None, kv_dtype: str
) -> tuple[jax.Array, PromptLayer]:
    attention = block.attention
    rows, length, _ = x.shape
    shape = (rows, attention.num_kv_heads, length, attention.head_size)
    cache = {name: jnp.zeros(shape, kv_dtype) for name in ("key", "value")}
    positions = jnp.broadcast_to(jnp.arange(length), (rows, length))
    query, _, _ = attention.project(block.attention_input(x), angles)
    x, cache = block(x, cache, positions, angles)
    return x, PromptLayer(_by_kv_head(query, attention.num_kv_heads), cache["key"], cache["value"])


@nnx.jit
def _decode_layer(block: Block, x: jax.Array, angles: jax.Array | None, prompt: PromptLayer) -> DecodeLayer:
    query, key, value = block.attention.project(block.attention_input(x), angles)
    keys, values = (
        jnp.concatenate([before, new.astype(before.dtype).transpose(0, 2, 1, 3)], axis=2)
        for before, new in ((prompt.keys, key), (prompt.values, value))
    )
    return DecodeLayer(_by_kv_head(query, keys.shape[1]), keys, values, prompt.query)


@nnx.jit
def _leave(block: Block, x: jax.Array, output: jax.Array) -> jax.Array:
    merged = output.astype(x.dtype).transpose(0, 3, 1, 2, 4).reshape(*x.shape[:2], -1)
    return block.finish(x, block.attention.out(merged))


@nnx.jit
def _predict(model: Transformer, hidden: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    logits = model.unembed(hidden)
    log_likelihood = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=-1)[..., 0]
    return -log_likelihood / jnp.log(2.0), jnp.argmax(logits, axis=-1)


def _by_kv_head(query: jax.Array, kv_heads: int) -> jax.Array:
    """Returns ``[B, K, G, T, D]`` from ``[B, T, K * G, D]``."""
    rows, length, _, head_size = query.shape
    return query.reshape(rows, length, kv_heads, -1, head_size).transpose(0, 2, 3, 1, 4)
