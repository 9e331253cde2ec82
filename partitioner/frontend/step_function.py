"""The one form every model is brought into before tracing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from partitioner.errors import ModelError


@dataclass(frozen=True, eq=False)
class StepFunction:
    """Wraps a model as a pure step over explicit parameters and state.

    Attributes:
        name: What reports call the model.
        step: ``step(params, tokens, state, positions, mask, logits_at) -> (logits, state)`` with tokens int32[batch, chunk],
            positions int32[batch, chunk], mask bool[batch, max_len] (the cache slots that hold a token of the row after this
            step), logits_at int32[batch] (the index in the chunk whose logits are wanted) and logits float[batch, n, vocab]
            where n is 1 if the model selects and chunk otherwise.
        params: Pytree of arrays or ``jax.ShapeDtypeStruct``.
        init_state: ``init_state(batch_size, max_len)`` returns the pytree of an empty KV cache; traceable.
        max_chunk: Tokens a step can take at once: None for any number, or 1.
        selects_logits: Whether the model computes only the logits at ``logits_at``.
        tokenizer: Object with ``encode(str) -> list[int]`` and ``decode(ids) -> str``, or None.
    """

    name: str
    step: Callable[..., tuple[Any, Any]]
    params: Any
    init_state: Callable[[int, int], Any]
    max_chunk: int | None = None
    selects_logits: bool = False
    tokenizer: Any = None

    def __post_init__(self) -> None:
        if self.max_chunk not in (None, 1):
            raise ModelError(f"max_chunk must be None (any) or 1, got {self.max_chunk}")

    def abstract_state(self, batch_size: int, max_len: int) -> Any:
        """Returns the shapes of the empty state without allocating it.

        Raises:
            ModelError: If making the empty state fails.
        """
        try:
            return jax.eval_shape(lambda: self.init_state(batch_size, max_len))
        except ModelError:
            raise
        except Exception as error:  # the user's code ran: whatever it raised is the reason
            raise ModelError(
                f"init_cache(batch_size, max_len) of {self.name} failed for ({batch_size}, {max_len}): {cause(error)}; it "
                "must return a pytree of arrays"
            ) from error

    def example_inputs(self, batch_size: int, chunk: int, max_len: int) -> tuple[Any, ...]:
        """Returns the shapes of ``(tokens, positions, mask, logits_at)``."""
        ids = jax.ShapeDtypeStruct((batch_size, chunk), jnp.int32)
        return (
            ids,
            ids,
            jax.ShapeDtypeStruct((batch_size, max_len), jnp.bool_),
            jax.ShapeDtypeStruct((batch_size,), jnp.int32),
        )


def cause(error: Exception) -> str:
    """Returns an error's class and the first line of its message, for a message of ours."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def named_leaves(tree: Any) -> tuple[list[tuple[str, Any]], Any]:
    """Returns ``(path, leaf)`` pairs with dotted paths, and the tree's structure."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    return [(path_name(path), leaf) for path, leaf in leaves], structure


def path_name(path: tuple[Any, ...]) -> str:
    """Returns a dotted name for a key path: ``blocks.0.attention.query.kernel``."""
    if path and isinstance(path[-1], jax.tree_util.GetAttrKey) and path[-1].name in ("value", "raw_value"):
        path = path[:-1]
    return jax.tree_util.keystr(path, simple=True, separator=".")
