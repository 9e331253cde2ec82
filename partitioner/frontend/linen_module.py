"""Brings in a Linen module with a ``cache`` collection."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

from partitioner.errors import ModelError
from partitioner.frontend.step_function import StepFunction, cause


def from_linen(module: linen.Module, variables: Any, *, max_chunk: int | None = 1) -> StepFunction:
    """Adapts a Linen module whose ``__call__(tokens[, positions, mask])`` returns logits and updates the ``cache`` collection.

    The empty cache is what ``init`` makes for tokens of the full length, as Flax's decoding modules define it.

    Args:
        module: The module, made for decoding.
        variables: Its variables; ``params`` is needed, a ``cache`` is ignored.
        max_chunk: Tokens a step takes; Flax's own decoding attention takes one.

    Raises:
        ModelError: If there are no parameters.
    """
    if not isinstance(variables, Mapping) or "params" not in variables:
        raise ModelError(
            f"the variables of {type(module).__name__} hold no 'params'; pass what module.init returned"
        )
    accepted = inspect.signature(type(module).__call__).parameters
    fixed = {k: v for k, v in variables.items() if k != "cache"}

    def offered(positions: Any, mask: Any) -> dict[str, Any]:
        return {k: v for k, v in {"positions": positions, "mask": mask}.items() if k in accepted}

    def init_state(batch_size: int, max_len: int) -> Any:
        tokens = jnp.zeros((batch_size, max_len), jnp.int32)
        extra = offered(tokens, jnp.ones((batch_size, max_len), jnp.bool_))
        try:
            shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), tokens, **extra))
        except Exception as error:  # the user's code ran: whatever it raised is the reason
            raise ModelError(
                f"init of {type(module).__name__} for tokens int32[{batch_size}, {max_len}] failed: {cause(error)}; "
                "its __call__ must take tokens and, by these names, positions and mask, or be wrapped with "
                "partitioner.frontend.from_step"
            ) from error
        if "cache" not in shapes:
            raise ModelError(
                f"{type(module).__name__} makes no 'cache' collection; build it for decoding (decode=True), or wrap it "
                "with partitioner.frontend.from_step"
            )
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes["cache"])

    def step(
        params: Any, tokens: Any, cache: Any, positions: Any, mask: Any, logits_at: Any
    ) -> tuple[Any, Any]:
        logits, updated = module.apply(
            {**params, "cache": cache}, tokens, **offered(positions, mask), mutable=["cache"]
        )
        return logits, updated["cache"]

    return StepFunction(
        name=type(module).__name__, step=step, params=fixed, init_state=init_state, max_chunk=max_chunk
    )
