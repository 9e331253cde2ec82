"""Decode steps of models of few layers, measured because a compiler chooses its kernels by all of a layer.

A product alone is not the kernel that a model gets: norms before and residuals behind it are part of it, and so is what else
reads its input. So what a decode step takes is measured on decode steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx
from jax import numpy as jnp

from cost_models import Work, work_of
from models import TransformerConfig, abstract
from partitioner.flatten import make_flat
from runtime.cli.calibration.kernel_effort import KernelEffort, LayerShape

Carried = tuple[jax.Array, list[Any]]
"""What a step hands to the next: int32[rows, 1] tokens, and the cache."""
VOCAB_SIZE = 1024
"""So small that the output projection, which is one product, says little."""


@dataclass(frozen=True)
class LayerChain:
    """Describes a decode step that greedily continues rows of equal length.

    Attributes:
        config: The model.
        rows: Sequences.
        tokens: Slots of the cache, all of which but the last are filled; every step writes the last.
    """

    config: TransformerConfig
    rows: int
    tokens: int

    @property
    def label(self) -> str:
        """Returns its shape, for people."""
        return f"{self.rows} x {self.tokens} tokens, {self.config.name}"

    def step(self, weights: Any, carried: Carried) -> Carried:
        """Returns what follows one step."""
        tokens, cache = carried
        positions = jnp.full((self.rows, 1), self.tokens - 1, jnp.int32)
        graph = nnx.graphdef(abstract(self.config))
        logits, cache = nnx.merge(graph, weights)(tokens, cache, positions)
        return jnp.argmax(logits[:, 0], axis=-1).astype(jnp.int32)[:, None], cache

    @property
    def weights(self) -> Any:
        """Returns shapes and dtypes of the parameters."""
        return nnx.state(abstract(self.config))

    @property
    def carried(self) -> tuple[jax.ShapeDtypeStruct, list[Any]]:
        """Returns shapes and dtypes of what a step is given of the one before."""
        model = abstract(self.config)
        cache = jax.eval_shape(lambda: model.init_cache(self.rows, self.tokens))
        return jax.ShapeDtypeStruct((self.rows, 1), jnp.int32), cache

    @property
    def num_bytes(self) -> int:
        """Returns the bytes of parameters and cache."""
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((self.weights, self.carried)))

    @property
    def work(self) -> Work:
        """Returns what one step demands by the model of fusion."""
        inputs, equations, outputs, _, _ = make_flat(self.step, self.weights, self.carried)
        return work_of(equations, inputs, outputs)


def layer_chains(effort: KernelEffort) -> Iterator[LayerChain]:
    """Yields what is measured."""
    for shape in effort.layers:
        for rows, tokens in effort.steps:
            yield LayerChain(config_of(shape, tokens, effort), rows, tokens)


def config_of(shape: LayerShape, tokens: int, effort: KernelEffort) -> TransformerConfig:
    """Returns a model of layers of a shape: as OPT's where the feed-forward layer has no gate, as Llama's where it has one."""
    llama = shape.gated
    return TransformerConfig(
        name=f"{effort.num_layers} layers of {shape}",
        vocab_size=VOCAB_SIZE,
        hidden_size=shape.num_heads * shape.head_size,
        num_layers=effort.num_layers,
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        head_size=shape.head_size,
        ffn_size=shape.ffn_size,
        max_position=tokens,
        norm="rmsnorm" if llama else "layernorm",
        activation="swiglu" if llama else "relu",
        position="rotary" if llama else "learned",
        qkv_bias=not llama,
        out_bias=not llama,
        mlp_bias=not llama,
        tied_embedding=True,
        param_dtype=effort.dtypes[0],
        compute_dtype=effort.dtypes[0],
        kv_dtype=effort.dtypes[0],
    )


def random_like(shapes: Any) -> Any:
    """Returns arrays of the given shapes and dtypes: small normal random numbers, and zeros where those are whole."""
    return jax.tree.map(lambda leaf: _drawn(leaf.shape, leaf.dtype.name), shapes)


def _draw(shape: tuple[int, ...], dtype: str) -> jax.Array:
    if not jnp.issubdtype(dtype, jnp.floating):
        return jnp.zeros(shape, dtype)
    return 0.02 * jax.random.normal(jax.random.key(0), shape, dtype)


_drawn = jax.jit(_draw, static_argnums=(0, 1))
"""Draws without an array in another dtype beside the result."""
