"""Masks and positions are checked at full length, where a small probe would see nothing."""

import pytest

from partitioner.passes.validate_attention import ValidationError
from partitioner.passes.validate_positions import validate_positions
from tests.partitioner.passes.near_misses import NEAR_MISSES, NOT_ONE_RULE
from tests.partitioner.passes.spellings import SPELLINGS, Spelling
from tests.partitioner.passes.traces import decode_of, region_of


def validate(spelling: Spelling, batch: int, length: int) -> None:
    phase, split = decode_of(spelling, batch, length)
    validate_positions(region_of(spelling, batch, length), phase, split.index)


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize(("batch", "length"), [(2, 64), (1, 2), (8, 8), (64, 64)])
def test_every_spelling_passes_at_any_size(name: str, batch: int, length: int) -> None:
    validate(SPELLINGS[name], batch, length)


@pytest.mark.parametrize("length", [41, 4096])
def test_a_window_shorter_than_the_cache_is_seen(length: int) -> None:
    with pytest.raises(ValidationError, match=f"^at {length} slots {NOT_ONE_RULE}"):
        validate(NEAR_MISSES["wide_window"], 2, length)


def test_a_window_as_long_as_the_cache_is_none() -> None:
    validate(NEAR_MISSES["wide_window"], 2, 40)


def test_a_bias_by_distance_is_seen() -> None:
    with pytest.raises(ValidationError, match=rf"{NOT_ONE_RULE} does not: float32\[2,1,1,64\]"):
        validate(NEAR_MISSES["fixed_bias"], 2, 64)


@pytest.mark.parametrize("length", [42, 4096])
def test_writes_that_wrap_around_are_seen(length: int) -> None:
    with pytest.raises(ValidationError, match=f"^at {length} slots an index does not grow evenly"):
        validate(NEAR_MISSES["wrapping_writes"], 2, length)


def test_a_mask_by_token_is_seen() -> None:
    with pytest.raises(ValidationError, match="depend on the tokens themselves"):
        validate(NEAR_MISSES["mask_by_token"], 2, 64)
