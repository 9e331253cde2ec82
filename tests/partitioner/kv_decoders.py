"""Decoders of one layer whose K and V are made in ways of one's own."""

from typing import Any

import jax

from partitioner.frontend import StepFunction, from_step
from tests.partitioner.small_models import (
    HIDDEN,
    Project,
    decoder_step,
    plain_cache,
    plain_params,
    plain_project,
)

__all__ = ["HIDDEN", "kv_decoder", "plain_project"]


def kv_decoder(project: Project, *, prefill_project: Project | None = None) -> StepFunction:
    """Returns the decoder, which makes K and V of a prompt in another way if that is given."""

    def chosen(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        of_prompt = prefill_project or project
        return (of_prompt if x.shape[1] > 1 else project)(params, x)

    return from_step(decoder_step(chosen), params=plain_params(), init_cache=plain_cache, name="kv decoder")
