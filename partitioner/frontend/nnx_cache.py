"""Brings in an ``nnx.Module`` whose KV cache is ``nnx.Cache`` state."""

from __future__ import annotations

import inspect
from typing import Any

import jax.numpy as jnp
from flax import nnx

from partitioner.errors import ModelError
from partitioner.frontend.step_function import StepFunction

_KERNEL_AXES = 3
"""Of a projection to heads: input, heads, head size."""


def from_nnx_cache(model: nnx.Module) -> StepFunction:
    """Adapts a module built on ``nnx.MultiHeadAttention(decode=True)``.

    Such attention takes one token a step and counts its own position, so prompts are fed token by token. ``__call__`` takes
    ``tokens`` and, where it names them, ``positions`` and ``mask``, and returns logits float[batch, 1, vocab].

    Raises:
        ModelError: If nothing in the module keeps a cache.
    """
    _require_caching_attention(model)
    bare, params, _ = nnx.split(model, _is_not_cache, nnx.Cache)
    accepted = inspect.signature(type(model).__call__).parameters
    graphdef = _split_with_cache(bare, params, 1, 1)[0]

    def init_state(batch_size: int, max_len: int) -> Any:
        return _split_with_cache(bare, params, batch_size, max_len)[2]

    def step(
        params: Any, tokens: Any, cache: Any, positions: Any, mask: Any, logits_at: Any
    ) -> tuple[Any, Any]:
        module: Any = nnx.merge(graphdef, params, cache)
        offered = {"positions": positions, "mask": mask}
        logits = module(tokens, **{k: v for k, v in offered.items() if k in accepted})
        return logits, nnx.state(module, nnx.Cache)

    return StepFunction(
        name=type(model).__name__,
        step=step,
        params=params,
        init_state=init_state,
        max_chunk=1,
        tokenizer=getattr(model, "tokenizer", None),
    )


def _is_not_cache(_: Any, leaf: Any) -> bool:
    return not isinstance(leaf, nnx.Cache)


def _split_with_cache(graphdef: Any, params: Any, batch_size: int, max_len: int) -> tuple[Any, Any, Any]:
    clone = nnx.merge(graphdef, params, nnx.State({}))
    for _, module in nnx.iter_modules(clone):
        if isinstance(module, nnx.MultiHeadAttention):
            module.init_cache((batch_size, max_len, module.in_features))
            _stack_cache(module)
    bare, rest, cache = nnx.split(clone, _is_not_cache, nnx.Cache)
    return bare, rest, cache


def _stack_cache(module: nnx.MultiHeadAttention) -> None:
    """Gives a module that stands for the layers of a scan, one kernel for each along the first axis, a cache for each."""
    layers = module.query.kernel.get_value().shape[:-_KERNEL_AXES]
    for name in ("cached_key", "cached_value", "cache_index"):
        one = getattr(module, name).get_value()
        setattr(module, name, nnx.Cache(jnp.broadcast_to(one, (*layers, *one.shape))))


def _require_caching_attention(model: nnx.Module) -> None:
    caching = [(path, m) for path, m in nnx.iter_modules(model) if isinstance(m, nnx.MultiHeadAttention)]
    if not caching:
        raise ModelError(
            f"{type(model).__name__} has neither init_cache(batch_size, max_len) nor an nnx.MultiHeadAttention(decode=True); "
            "add one, or wrap the model with partitioner.frontend.from_step(step, params=..., init_cache=...)"
        )
    for path, module in caching:
        if not module.decode:
            raise ModelError(
                f"nnx.MultiHeadAttention at {'.'.join(map(str, path))} was made with decode=False and keeps no cache; "
                "make it with decode=True"
            )
