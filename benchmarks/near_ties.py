"""How close two tokens were between which a session and plain ``jax.jit`` decided differently.

With random weights many tokens are about equally likely, and the order of a sum decides. A row that differs because of that
says so itself: where it first differs, the model finds both tokens equally likely but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jax import numpy as jnp

from models import Transformer


def margins(
    model: Transformer,
    prompts: np.ndarray,
    expected: Sequence[Sequence[int]],
    made: Sequence[Sequence[int]],
) -> list[float]:
    """Returns for each row that differs how far apart the logits of the two tokens are that differ first.

    Args:
        model: Whose logits count.
        prompts: int32[B, S].
        expected: Tokens of each row as plain ``jax.jit`` makes them.
        made: As a session made them.

    Returns:
        In units in the last place of the dtype of activations, at the greater of the two logits.
    """
    found: list[float] = []
    for prompt, right, other in zip(prompts, expected, made, strict=True):
        first = next((n for n, pair in enumerate(zip(right, other, strict=True)) if pair[0] != pair[1]), None)
        if first is not None:
            logits = _logits(model, np.concatenate([prompt, np.asarray(right[:first], np.int32)]))
            pair = logits[[right[first], other[first]]]
            highest = np.asarray(np.abs(pair).max(), model.config.compute_dtype)
            found.append(float(abs(pair[0] - pair[1])) / float(np.spacing(highest)))
    return found


def told(found: Sequence[float]) -> str:
    """Returns a line about rows that differ, of which there is one at least."""
    rows = f"{len(found)} row differs" if len(found) == 1 else f"{len(found)} rows differ"
    return f"  {rows}; the model has the logits of the two tokens at most {max(found):.1f} units in the last place apart"


def _logits(model: Transformer, tokens: np.ndarray) -> np.ndarray:
    """Returns float32[V], those behind the last token."""
    positions = jnp.arange(len(tokens), dtype=jnp.int32)[None]
    cache = model.init_cache(1, len(tokens))
    logits, _ = model(jnp.asarray(tokens)[None], cache, positions, logits_at=positions[:, -1])
    return np.asarray(jax.device_get(logits)[0, 0], np.float32)
