"""Brings in an ``nnx.Module`` in the documented form: cache in, cache out."""

from __future__ import annotations

import inspect
from typing import Any

from flax import nnx

from partitioner.errors import ModelError
from partitioner.frontend.step_function import StepFunction


def from_nnx(model: nnx.Module) -> StepFunction:
    """Adapts a module with ``__call__(tokens, cache, positions) -> (logits, cache)`` and ``init_cache(batch_size, max_len)``.

    A ``__call__`` that also names ``logits_at`` is asked for the logits of one position per row only; one that names ``mask``
    gets the valid cache slots, bool[batch, max_len].

    Raises:
        ModelError: If ``__call__`` does not take the three arguments.
    """
    signature = inspect.signature(type(model).__call__)
    accepted = signature.parameters
    try:
        signature.bind(
            model, *(["given"] * 3), **{n: "given" for n in ("logits_at", "mask") if n in accepted}
        )
    except TypeError as error:
        raise ModelError(
            f"{type(model).__name__} has init_cache, so its __call__ must accept (tokens, cache, positions) and return "
            f"(logits, cache): {error}"
        ) from error
    graphdef, params = nnx.split(model)
    selects = "logits_at" in accepted
    masked = "mask" in accepted

    def step(
        params: Any, tokens: Any, cache: Any, positions: Any, mask: Any, logits_at: Any
    ) -> tuple[Any, Any]:
        module: Any = nnx.merge(graphdef, params)
        extra: dict[str, Any] = {"logits_at": logits_at} if selects else {}
        if masked:
            extra["mask"] = mask
        return module(tokens, cache, positions, **extra)

    documented: Any = model
    return StepFunction(
        name=getattr(getattr(model, "config", None), "name", type(model).__name__),
        step=step,
        params=params,
        init_state=documented.init_cache,
        selects_logits=selects,
        tokenizer=getattr(model, "tokenizer", None),
    )
