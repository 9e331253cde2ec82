"""A drive whose layers hold different numbers of sequences and KV heads: what a layer lacks costs nothing."""

from typing import Any

import numpy as np
import pytest

from runtime.csd import Attend, CapacityError, Configure, Drive, DriveError, Health, Read, Reclaim, Write
from tests.runtime.csd.drives import SPEC, configured, spec, tokens
from tests.runtime.csd.reference import attention

pytestmark = pytest.mark.usefixtures("each_backing")

UNEVEN: dict[str, Any] = {
    "num_kv_heads": 3,
    "num_query_heads": 6,
    "batch_size": 4,
    "layer_kv_heads": (3, 1),
    "layer_rows": (2, 4),
}
"""Layer 0 has 2 sequences of 3 heads, layer 1 has 4 of one."""


def fill(drive: Drive, rng: np.random.Generator, layer: int, rows: Any, heads: int, length: int) -> Any:
    pair = tokens(rng, len(rows), heads, length, 4), tokens(rng, len(rows), heads, length, 4)
    start = np.zeros(len(rows), np.int64)
    completion = drive.execute(Write(layer, *pair, start=start, rows=np.array(rows)), 0.0)
    return pair, completion


@pytest.mark.parametrize(("layer", "rows", "heads"), [(0, [0, 1], 3), (1, [0, 1, 2, 3], 1), (1, [3, 1], 1)])
def test_every_layer_attends_in_its_own_shape(layer: int, rows: list[int], heads: int) -> None:
    rng = np.random.default_rng(0)
    drive = configured(**UNEVEN)
    (key, value), _ = fill(drive, rng, layer, rows, heads, 10)
    query = tokens(rng, len(rows), 2 * heads, 4)
    new = tokens(rng, len(rows), heads, 4), tokens(rng, len(rows), heads, 4)
    lengths = np.full(len(rows), 11)
    output = drive.execute(Attend(layer, query, *new, lengths, 0.5, rows=np.array(rows)), 1.0).value
    whole = [
        np.concatenate([old, token[:, :, None]], axis=2) for old, token in zip((key, value), new, strict=True)
    ]
    np.testing.assert_allclose(output, attention(query, *whole, lengths, 0.5), atol=1e-5)
    read = drive.execute(Read(layer, rows=np.array(rows), num_tokens=11), 2.0).value
    for got, wanted in zip(read, whole, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_small_layer_costs_what_a_drive_of_its_size_would() -> None:
    """Same pages, written and read, as on a drive that is configured for the small layer alone."""
    uneven, alone = configured(**UNEVEN), configured(num_kv_heads=1, num_query_heads=2, batch_size=4)
    found = []
    for drive, layer in ((uneven, 1), (alone, 1)):
        rng = np.random.default_rng(0)
        _, written = fill(drive, rng, layer, range(4), 1, 16)
        query, lengths = tokens(rng, 4, 2, 4), np.full(4, 16)
        attended = drive.execute(Attend(layer, query, None, None, lengths, 0.5), 10.0)
        health = drive.execute(Health(scan=True), 20.0).value
        assert health.checksum_errors == 0
        found.append((written.detail.pages_programmed, attended.detail.pages_read, health.buffered_bytes))
    assert found[0] == found[1] == (4 * 4 * 2, 4 * 4 * 2, 0)


def test_capacity_counts_what_the_layers_hold() -> None:
    """Flash and drive memory for 2 x 3 + 4 x 1 lanes suffice, though 2 layers of 4 x 3 would not fit."""
    even = {**UNEVEN, "layer_kv_heads": None, "layer_rows": None}
    lanes_bytes = (
        (2 * 3 + 4 * 1) * 2 * (64 + 10 * 4)
    )  # a page in the buffer and 10 entries for pages of 4 tokens
    configured(spec(dram_bytes=lanes_bytes), **UNEVEN)
    with pytest.raises(
        CapacityError, match=r"is 4992 bytes \(group buffer 3072, mapping tables 1920, sums of V 0\)"
    ):
        configured(spec(dram_bytes=lanes_bytes), **even)
    small = spec(blocks_per_plane=4)
    configured(small, **UNEVEN)
    with pytest.raises(CapacityError, match="Lower the batch"):
        configured(small, **even)


def test_reclaiming_and_configuring_anew_drop_every_layer() -> None:
    rng = np.random.default_rng(0)
    drive = configured(**UNEVEN)
    for again in (Reclaim, lambda: Reclaim(rows=np.arange(4)), _configure):
        fill(drive, rng, 0, [0, 1], 3, 8)
        fill(drive, rng, 1, [0, 1, 2, 3], 1, 8)
        drive.execute(again(), 1.0)
        assert drive.execute(Health(), 1.0).value.buffered_tokens == 0
        assert drive.execute(Health(scan=True), 1.0).value.pages_scanned == 0


def _configure() -> Configure:
    return Configure(2, 3, 6, 4, np.dtype(np.float32), 4, 40, (3, 1), (2, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"layer_kv_heads": (3,)},
            r"layer_kv_heads is \[3\]; give one number from 1 to 3 for each of 2 layers",
        ),
        ({"layer_kv_heads": (3, 4)}, r"layer_kv_heads is \[3, 4\]; give one number from 1 to 3"),
        ({"layer_rows": (0, 4)}, r"layer_rows is \[0, 4\]; give one number from 1 to 4"),
    ],
)
def test_shapes_that_no_layer_can_have(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DriveError, match=message):
        configured(SPEC, **{**UNEVEN, **changes})


def test_a_layer_refuses_what_it_has_no_room_for() -> None:
    rng = np.random.default_rng(0)
    drive = configured(**UNEVEN)
    with pytest.raises(DriveError, match="use rows 0 to 1 or configure a larger batch"):
        fill(drive, rng, 0, [2], 3, 4)
    with pytest.raises(DriveError, match=r"key has shape .*; the configured shape is \(4, 1, 4, 4\)"):
        fill(drive, rng, 1, range(4), 3, 4)
    with pytest.raises(DriveError, match=r"query has shape .*; the configured shape is \(n, 2, 4\)"):
        drive.execute(Attend(1, tokens(rng, 4, 6, 4), None, None, np.zeros(4, np.int64), 1.0), 0.0)
