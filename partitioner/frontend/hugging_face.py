"""Brings in a Flax model of Hugging Face transformers 4.

Those models write the new token of every row into the same cache slot, counted by one ``cache_index`` for all rows, so prompts
of different lengths have to be padded on the left. Here rows are run apart instead (see ``rows_apart``): no slot is left before
a row's first token that could be stored or read, and the tokens are those of the padded batch.
"""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

from partitioner.errors import ModelError
from partitioner.frontend.step_function import StepFunction


def is_hugging_face_model(model: Any) -> bool:
    """Tells whether a model is one of transformers' Flax models, without importing that library."""
    return isinstance(getattr(model, "module", None), linen.Module) and all(
        hasattr(model, name) for name in ("params", "init_cache", "config")
    )


def from_hugging_face(model: Any) -> StepFunction:
    """Adapts a causal language model such as ``FlaxOPTForCausalLM`` or ``FlaxGPT2LMHeadModel``.

    Args:
        model: A ``FlaxPreTrainedModel`` whose ``__call__`` takes ``past_key_values``.

    Raises:
        ModelError: If it keeps no KV cache, or attends to an encoder.
    """
    name = type(model).__name__
    accepted = inspect.signature(type(model).__call__).parameters
    if getattr(model.config, "is_encoder_decoder", False) or "past_key_values" not in accepted:
        raise ModelError(
            f"{name} is no decoder with a KV cache (its __call__ takes no past_key_values, or it attends to an encoder); pass "
            "a causal language model such as FlaxOPTForCausalLM"
        )

    def init_state(batch_size: int, max_len: int) -> Any:
        shapes = jax.eval_shape(lambda: model.init_cache(batch_size, max_len))
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def step(
        params: Any, tokens: Any, state: Any, positions: Any, mask: Any, logits_at: Any
    ) -> tuple[Any, Any]:
        offered = {"position_ids": positions, "attention_mask": mask.astype(jnp.int32)}
        told = {k: v for k, v in offered.items() if k in accepted}
        out = model(tokens, params=params, past_key_values=state, return_dict=True, **told)
        return out.logits, out.past_key_values

    return StepFunction(name=name, step=step, params=model.params, init_state=init_state)
