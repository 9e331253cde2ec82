"""Chooses the adapter for whatever the user handed in."""

from __future__ import annotations

from typing import Any

from flax import linen, nnx

from partitioner.errors import ModelError
from partitioner.frontend.hugging_face import from_hugging_face, is_hugging_face_model
from partitioner.frontend.linen_module import from_linen
from partitioner.frontend.nnx_cache import from_nnx_cache
from partitioner.frontend.nnx_module import from_nnx
from partitioner.frontend.rows_apart import rows_apart
from partitioner.frontend.step_function import StepFunction


def adapt(model: Any) -> StepFunction:
    """Returns the model as a step function whose rows may differ in length.

    Args:
        model: An ``nnx.Module`` (with ``init_cache``, or with ``nnx.Cache`` state), a ``(linen.Module, variables)`` pair, a
            Flax model of Hugging Face transformers, or what :func:`partitioner.frontend.from_step` returned.

    Raises:
        ModelError: For anything else.
    """
    return rows_apart(_step_function(model))


def _step_function(model: Any) -> StepFunction:
    match model:
        case StepFunction():
            return model
        case nnx.Module() if callable(getattr(model, "init_cache", None)):
            return from_nnx(model)
        case nnx.Module():
            return from_nnx_cache(model)
        case (linen.Module() as module, variables):
            return from_linen(module, variables)
        case linen.Module():
            raise ModelError("a Linen module needs its variables: pass (module, variables)")
        case _ if is_hugging_face_model(model):
            return from_hugging_face(model)
        case _:
            raise ModelError(
                f"cannot partition a {type(model).__name__}: pass an nnx.Module, a (linen.Module, variables) pair, or "
                "partitioner.frontend.from_step(step, params=..., init_cache=...)"
            )
