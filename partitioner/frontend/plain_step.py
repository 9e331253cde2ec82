"""Brings in a plain step function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from partitioner.errors import ModelError
from partitioner.frontend.step_function import StepFunction


def from_step(
    step: Callable[..., tuple[Any, Any]],
    *,
    params: Any,
    init_cache: Callable[[int, int], Any],
    max_chunk: int | None = None,
    name: str = "step",
    tokenizer: Any = None,
) -> StepFunction:
    """Wraps ``step(params, tokens, cache, positions, mask) -> (logits, cache)``.

    Args:
        step: tokens and positions are int32[batch, chunk]; mask is bool[batch, max_len], true for the cache slots that hold a
            token of the row once this step is done (causality within a chunk is the function's own affair).
        params: Pytree of arrays or ``jax.ShapeDtypeStruct``.
        init_cache: ``init_cache(batch_size, max_len)`` returns an empty cache.
        max_chunk: Tokens a step can take: None for any number, or 1.
        name: What reports call the model.
        tokenizer: Optional object with ``encode`` and ``decode``.

    Raises:
        ModelError: If the function does not take the five arguments, or ``max_chunk`` is neither None nor 1.
    """
    try:
        inspect.signature(step).bind(params, None, None, None, None)
    except TypeError as error:
        raise ModelError(
            f"step must accept (params, tokens, cache, positions, mask) and return (logits, cache): {error}"
        ) from error

    def adapted(
        params: Any, tokens: Any, cache: Any, positions: Any, mask: Any, logits_at: Any
    ) -> tuple[Any, Any]:
        return step(params, tokens, cache, positions, mask)

    return StepFunction(
        name=name,
        step=adapted,
        params=params,
        init_state=init_cache,
        max_chunk=max_chunk,
        tokenizer=tokenizer,
    )
