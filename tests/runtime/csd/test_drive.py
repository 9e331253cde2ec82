import dataclasses
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.csd import (
    Attend,
    ChecksumError,
    Configure,
    DriveError,
    Health,
    Identify,
    Read,
    Reclaim,
    Write,
)

from .drives import SPEC, configured, new_drive, spec, tokens
from .reference import attention

pytestmark = pytest.mark.usefixtures("each_backing")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]),
    steps=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 9), st.booleans()),
        min_size=1,
        max_size=12,
    ),
)
def test_reads_what_was_written(seed: int, dtype: np.dtype, steps: list[tuple[int, int, int, bool]]) -> None:
    """Random appends, rewrites and reclaims against plain arrays."""
    drive = configured(dtype=dtype)
    rng = np.random.default_rng(seed)
    model = np.zeros((2, 2, 3, 2, 40, 4), dtype)  # K or V, layer, row, head, token
    lengths = np.zeros((2, 3), np.int64)
    for layer, row, count, rewrite in steps:
        length = int(lengths[layer, row])
        start = int(rng.integers(0, length + 1)) if rewrite else length
        more = min(count, 40 - start)
        pair = tokens(rng, 2, 1, 2, more + 2, 4, dtype=dtype)
        rows = np.array([row])
        drive.execute(Write(layer, pair[0], pair[1], np.array([start]), np.array([more]), rows), 0.0)
        model[:, layer, row, :, start:] = 0
        model[:, layer, row, :, start : start + more] = pair[:, 0, :, :more]
        lengths[layer, row] = start + more
        if count == 0:
            drive.execute(Reclaim(layer=layer, rows=rows), 0.0)
            model[:, layer, row] = 0
            lengths[layer, row] = 0
    for layer in range(2):
        key, value = drive.execute(Read(layer), 0.0).value
        assert key.dtype == dtype
        assert (key == model[0, layer]).all()
        assert (value == model[1, layer]).all()
        query = tokens(rng, 3, 2, 4)
        got = drive.execute(Attend(layer, query, None, None, lengths[layer], 0.5), 0.0).value
        expected = attention(query, model[0, layer], model[1, layer], lengths[layer], 0.5)
        np.testing.assert_allclose(got, expected, atol=1e-5)
    health = drive.execute(Health(scan=True), 0.0).value
    assert health.checksum_errors == 0
    assert health.pages_scanned == int((lengths // (64 // (4 * dtype.itemsize))).sum()) * 4


def test_decode_one_token_at_a_time_over_layers() -> None:
    drive, rng = configured(max_len=20), np.random.default_rng(0)
    key, value = tokens(rng, 2, 3, 2, 20, 4), tokens(rng, 2, 3, 2, 20, 4)
    prompt = np.array([3, 1, 8])
    for layer in range(2):
        drive.execute(Write(layer, key[layer], value[layer], np.zeros(3, int), prompt), 0.0)
    for step in range(1, 12):
        lengths = prompt + step
        newest = np.arange(3), slice(None), lengths - 1
        for layer in range(2):
            query = tokens(rng, 3, 2, 4)
            command = Attend(layer, query, key[layer][newest], value[layer][newest], lengths, 0.5)
            got = drive.execute(command, 0.0).value
            expected = attention(query, key[layer], value[layer], lengths, 0.5)
            np.testing.assert_allclose(got, expected, atol=1e-5)


def test_attend_rewrites_where_its_length_falls_back() -> None:
    drive, rng = configured(batch_size=1), np.random.default_rng(0)
    key, value = tokens(rng, 1, 2, 11, 4), tokens(rng, 1, 2, 11, 4)
    drive.execute(Write(0, key, value, np.array([0])), 0.0)
    new, query = tokens(rng, 1, 2, 4), tokens(rng, 1, 2, 4)
    key[:, :, 5], value[:, :, 5] = new, new
    got = drive.execute(Attend(0, query, new, new, np.array([6]), 0.5), 0.0).value
    np.testing.assert_allclose(got, attention(query, key, value, np.array([6]), 0.5), atol=1e-5)


def test_partial_reads() -> None:
    drive, rng = configured(), np.random.default_rng(0)
    key, value = tokens(rng, 3, 2, 10, 4), tokens(rng, 3, 2, 10, 4)
    drive.execute(Write(1, key, value, np.zeros(3, int)), 0.0)
    done = drive.execute(Read(1, lengths=np.array([0, 5, 10]), num_tokens=12), 0.0)
    for got, full in zip(done.value, (key, value), strict=True):
        assert got.shape == (3, 2, 12, 4)
        assert (got[1, :, :5] == full[1, :, :5]).all()
        assert (got[2, :, :10] == full[2]).all()
        assert not got[0].any()
        assert not got[1, :, 5:].any()
    assert done.detail.pages_read == (2 + 2) * 4


def test_write_amplification_is_one_when_groups_are_full() -> None:
    drive, rng = configured(batch_size=1), np.random.default_rng(0)
    assert drive.execute(Health(), 0.0).value.write_amplification == 1.0
    key = tokens(rng, 1, 2, 40, 4)
    for layer in range(2):
        drive.execute(Write(layer, key[:, :, :30], key[:, :, :30], np.array([0])), 0.0)
        for t in range(30, 40):
            new = key[:, :, t]
            drive.execute(Attend(layer, new, new, new, np.array([t + 1]), 0.5), 0.0)
    health = drive.execute(Health(), 0.0).value
    assert health.bytes_written_by_host == 2 * 40 * 2 * 2 * 16
    assert health.write_amplification == 1.0


def test_capacity_accounting_is_exact() -> None:
    drive, rng = configured(), np.random.default_rng(0)
    capacity = drive.execute(Identify(), 0.0).value.capacity_bytes
    key = tokens(rng, 3, 2, 40, 4)
    for layer in range(2):
        drive.execute(Write(layer, key, key, np.zeros(3, int)), 0.0)
    health = drive.execute(Health(), 0.0).value
    assert capacity - health.free_bytes == health.bytes_programmed == 2 * 2 * key.nbytes
    drive.execute(Reclaim(rows=np.array([1])), 0.0)
    health = drive.execute(Health(), 0.0).value
    assert capacity - health.free_bytes == 2 * 2 * key.nbytes * 2 // 3
    assert health.pages_read == 0
    drive.execute(Reclaim(layer=0), 0.0)
    drive.execute(Reclaim(layer=1), 0.0)
    health = drive.execute(Health(), 0.0).value
    assert health.free_bytes == capacity
    assert (health.wear_min, health.wear_max) == (0, 1)
    assert health.wear_mean == health.blocks_erased / 512


def test_a_new_task_takes_the_place_of_the_old_one() -> None:
    drive, rng = configured(), np.random.default_rng(0)
    key = tokens(rng, 3, 2, 40, 4)
    for _ in range(20):
        for layer in range(2):
            drive.execute(Write(layer, key, key, np.zeros(3, int)), 0.0)
        drive.execute(Configure(2, 2, 2, 4, np.dtype(np.float32), 3, 40), 0.0)
    identity = drive.execute(Identify(), 0.0).value
    assert drive.execute(Health(), 0.0).value.free_bytes == identity.capacity_bytes
    assert not drive.execute(Read(0), 0.0).value[0].any()
    assert identity.tasks[0].task.max_len == 40


def test_a_refused_task_leaves_the_old_one() -> None:
    drive, rng = configured(), np.random.default_rng(0)
    key = tokens(rng, 3, 2, 40, 4)
    drive.execute(Write(0, key, key, np.zeros(3, int)), 0.0)
    with pytest.raises(DriveError, match="Lower the batch"):
        drive.execute(Configure(2, 2, 2, 4, np.dtype(np.float32), 3, 40_000), 0.0)
    assert (drive.execute(Read(0), 0.0).value[0] == key).all()


def test_bad_pages_are_found_on_read_and_by_the_scan() -> None:
    drive, rng = configured(), np.random.default_rng(0)
    key = tokens(rng, 3, 2, 40, 4)
    drive.execute(Write(0, key, key, np.zeros(3, int)), 0.0)
    drive._nand.flip_bit(int(drive._tasks.store(0).ftl.table(0)[1, 0, 1, 3]), 100)
    report = drive.execute(Health(scan=True), 0.0).value
    assert (report.pages_scanned, report.checksum_errors) == (120, 1)
    with pytest.raises(
        ChecksumError, match=r"csd0: 1 of 40 pages fail .*; write the affected sequences again"
    ):
        drive.execute(Read(0), 0.0)


def test_identity_of_a_plain_drive() -> None:
    identity = new_drive(spec(engine=None), name="ssd").execute(Identify(), 0.0).value
    assert (identity.name, identity.has_engine, identity.tasks) == ("ssd", False, ())
    assert identity.capacity_bytes == 4 * 2 * 64 * 8 * 64
    assert (identity.channels, identity.units, identity.blocks) == (4, 8, 512)


def test_pages_that_tokens_do_not_fill() -> None:
    """Heads of 3 float32: 5 tokens and 4 spare bytes in a page of 64."""
    drive, rng = configured(head_size=3, batch_size=1), np.random.default_rng(0)
    key, value = tokens(rng, 1, 2, 13, 3), tokens(rng, 1, 2, 13, 3)
    drive.execute(Write(0, key, value, np.array([0])), 0.0)
    assert (drive.execute(Read(0, num_tokens=13), 0.0).value[1] == value).all()
    query = tokens(rng, 1, 2, 3)
    got = drive.execute(Attend(0, query, None, None, np.array([13]), 0.5), 0.0).value
    np.testing.assert_allclose(got, attention(query, key, value, np.array([13]), 0.5), atol=1e-5)


TASK = Configure(2, 2, 4, 4, np.dtype(np.float32), 3, 40)
KV = np.zeros((2, 2, 5, 4), np.float32)
NEW = np.zeros((2, 2, 4), np.float32)
QUERY = np.zeros((2, 4, 4), np.float32)
START = np.zeros(2, int)
WRITE = Write(0, KV, KV, START)
ATTEND = Attend(0, QUERY, NEW, NEW, START + 1, 0.5)


def change(command: Any, **changes: Any) -> Any:
    return dataclasses.replace(command, **changes)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (change(TASK, num_layers=0), "num_layers is 0; configure at least 1"),
        (change(TASK, num_query_heads=3), "3 query heads do not share 2 KV heads evenly; give a multiple"),
        (
            change(TASK, dtype=np.dtype(np.int8)),
            "KV dtype int8 is not supported; use float16, bfloat16, float32",
        ),
        (change(TASK, head_size=17), "one token of one head takes 68 bytes, a page has 64; use larger pages"),
        (
            change(TASK, max_len=10**6),
            r"KV cache of 3 sequences x 1000000 tokens has 384000000 bytes .* Lower",
        ),
        (change(WRITE, layer=2), "layer 2 does not exist; the drive is configured for layers 0 to 1"),
        (change(WRITE, key=KV[0]), r"key has shape \(2, 5, 4\); give \(n, kv_heads, tokens, head_size\)"),
        (
            change(WRITE, value=KV[:, :1]),
            r"value has shape \(2, 1, 5, 4\); the configured shape is \(2, 2, 5, 4\)",
        ),
        (
            change(WRITE, key=KV.astype(np.float16)),
            "key is float16, the drive is configured for float32; cast",
        ),
        (change(WRITE, start=START[:1]), r"start has shape \(1,\) and dtype int64; give 2 integers"),
        (change(WRITE, start=START + 0.5), r"start has shape \(2,\) and dtype float64; give 2 integers"),
        (
            change(WRITE, start=START + 1),
            "write at token 1 of sequence 0, layer 0, which has 0 tokens; start at 0",
        ),
        (change(WRITE, start=START - 1), "write at token -1 of sequence 0"),
        (
            change(WRITE, lengths=START + 6),
            r"lengths \[6, 6\] are outside of the 5 tokens given; stay within 0 to 5",
        ),
        (
            change(WRITE, rows=np.array([1, 1])),
            r"rows \[1, 1\] name a sequence twice; name each sequence once",
        ),
        (change(WRITE, rows=np.array([1, 3])), "sequences 1 to 3 are not all configured; use rows 0 to 2"),
        (
            Write(0, np.zeros((1, 2, 41, 4), np.float32), np.zeros((1, 2, 41, 4), np.float32), START[:1]),
            "sequence 0 would have 41 tokens, the drive is configured for 40; configure a larger max_len",
        ),
        (
            change(ATTEND, query=QUERY[:, :2]),
            r"query has shape \(2, 2, 4\); the configured shape is \(n, 4, 4\)",
        ),
        (change(ATTEND, value=None), "a new key or a new value without the other; give both or neither"),
        (change(ATTEND, lengths=START + 2), "write at token 1 of sequence 0, layer 0, which has 0 tokens"),
        (change(ATTEND, lengths=START), "write at token -1 of sequence 0"),
        (
            change(ATTEND, key=None, value=None),
            "attend to 1 tokens of sequence 0, layer 0, which has 0; write the missing tokens first",
        ),
        (change(ATTEND, window=0), "window is 0; give at least 1 token, or None for all"),
        (
            change(ATTEND, slopes=np.ones(3)),
            r"slopes are \[1.0, 1.0, 1.0\]; give one finite number for each of the 4 query heads of layer 0",
        ),
        (change(ATTEND, slopes=np.full(4, np.nan)), r"slopes are \[nan, .*; give one finite number for each"),
        (change(ATTEND, soft_cap=0.0), "soft_cap is 0.0; give a positive number, or None for no cap"),
        (
            Read(0, np.array([1, 0, 0])),
            r"read of \[1, 0, 0\] tokens into 40, .* have \[0, 0, 0\]; ask for no more",
        ),
        (Reclaim(layer=7), "layer 7 does not exist"),
        (Reclaim(rows=np.array([5])), "sequences 5 to 5 are not all configured"),
        ("attend", "str is no drive command; use one of"),
    ],
)
def test_bad_commands_are_refused_and_change_nothing(command: Any, message: str) -> None:
    drive = new_drive(SPEC)
    drive.execute(TASK, 0.0)
    with pytest.raises(DriveError, match="csd0: .*" + message):
        drive.execute(command, 0.0)
    health = drive.execute(Health(), 0.0).value
    assert (health.bytes_written_by_host, health.buffered_tokens, health.pages_programmed) == (0, 0, 0)
    assert drive.execute(WRITE, 0.0).detail.pages_programmed == 8


@pytest.mark.parametrize(
    "command", [WRITE, ATTEND, Read(0), Reclaim()], ids=lambda command: type(command).__name__
)
def test_commands_need_a_task(command: Any) -> None:
    with pytest.raises(DriveError, match="csd0: no KV cache is configured; execute Configure first"):
        new_drive(SPEC).execute(command, 0.0)


def test_a_plain_drive_cannot_attend() -> None:
    drive = new_drive(spec(engine=None), name="ssd")
    drive.execute(TASK, 0.0)
    with pytest.raises(
        DriveError, match="ssd: this drive has no engine; read its cache and attend elsewhere"
    ):
        drive.execute(ATTEND, 0.0)
