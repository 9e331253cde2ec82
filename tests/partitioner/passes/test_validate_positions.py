"""Where tokens are written is checked at full length, where a small probe would see nothing."""

import pytest
from jax import numpy as jnp

from partitioner.passes.logit_rule import ValidationError
from partitioner.passes.validate_positions import validate_positions
from tests.partitioner.passes.near_misses import NEAR_MISSES
from tests.partitioner.passes.spellings import SPELLINGS, Spelling, plain_attend, visible
from tests.partitioner.passes.traces import decode_of, region_of


def validate(spelling: Spelling, batch: int, length: int) -> None:
    phase, split = decode_of(spelling, batch, length)
    validate_positions(region_of(spelling, batch, length), phase, split.index)


def every_other_slot(query, key, value, cache, positions, mask, params):
    """A token is written to all slots that are as odd as its position."""
    here = (jnp.arange(cache["k"].shape[1]) % 2 == positions % 2)[:, :, None, None]
    keys, values = jnp.where(here, key, cache["k"]), jnp.where(here, value, cache["v"])
    return plain_attend(query, keys, values, visible(keys.shape[1], positions)), {"k": keys, "v": values}


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize(("batch", "length"), [(2, 64), (1, 2), (8, 8), (64, 64)])
def test_every_spelling_passes_at_any_size(name: str, batch: int, length: int) -> None:
    validate(SPELLINGS[name], batch, length)


def test_slots_chosen_by_more_than_the_position_are_seen() -> None:
    with pytest.raises(
        ValidationError, match=r"^at 64 slots it does not write each token to the slot of its pos"
    ):
        validate(Spelling(every_other_slot), 2, 64)


@pytest.mark.parametrize("length", [42, 4096])
def test_writes_that_wrap_around_are_seen(length: int) -> None:
    with pytest.raises(ValidationError, match=f"^at {length} slots an index does not grow evenly"):
        validate(NEAR_MISSES["wrapping_writes"], 2, length)


def test_a_mask_by_token_is_seen() -> None:
    with pytest.raises(ValidationError, match="depend on the tokens themselves"):
        validate(NEAR_MISSES["mask_by_token"], 2, 64)
