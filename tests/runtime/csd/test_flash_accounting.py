"""The flash traffic of one layer of OPT-13B at batch 64: the mechanism's counts against closed forms and the paper's.

Pages keep no bytes here (``NoBacking``), since the cache would take 2.7 GB; all else is what every drive runs.
"""

import numpy as np
import pytest

from cost_models import HardwareSpec
from runtime.csd import Attend, Configure, Drive, Health, NoBacking, Read, Reclaim, Write

BATCH, HEADS, HEAD_SIZE, PROMPT, DECODE = 64, 40, 128, 1024, 1024
GROUP_TOKENS, PAGE_BYTES = 16, 4096  # 16 tokens x 128 x 2 B
LANES = BATCH * HEADS * 2


def prefilled(channel_group: int | None) -> Drive:
    """Returns a drive of the paper's testbed with the prompts of all sequences, written one sequence at a time."""
    drive = Drive(HardwareSpec.load("a6000-csd").drives[0], backing=NoBacking())
    task = Configure(1, HEADS, HEADS, HEAD_SIZE, np.dtype(np.float16), BATCH, PROMPT + DECODE)
    drive.execute(Configure(**{**vars(task), "channel_group": channel_group}), 0.0)
    prompt = np.zeros((1, HEADS, PROMPT, HEAD_SIZE), np.float16)
    for row in range(BATCH):
        drive.execute(Write(0, prompt, prompt, np.zeros(1, int), rows=np.array([row])), 0.0)
    return drive


def decoded(drive: Drive, step: int, window: int | None = 1) -> int:
    """Appends a token to every sequence and returns the pages that its attention read."""
    query, new = (
        np.zeros((BATCH, HEADS, HEAD_SIZE), np.float32),
        np.zeros((BATCH, HEADS, HEAD_SIZE), np.float16),
    )
    lengths = np.full(BATCH, PROMPT + step + 1)
    return drive.execute(Attend(0, query, new, new, lengths, 0.1, window=window), 0.0).detail.pages_read


@pytest.mark.parametrize(("channel_group", "programmed_bytes"), [(None, 1_342_177_280), (8, 2_013_265_920)])
def test_prefill_writes_1_34_gb_and_2_01_gb_with_k_by_channel(
    channel_group: int | None, programmed_bytes: int
) -> None:
    """InstInfer (arXiv 2409.04992): 1.34 GB a layer; with K twice half as much again."""
    health = prefilled(channel_group).execute(Health(), 0.0).value
    assert health.bytes_written_by_host == BATCH * PROMPT * 2 * HEADS * HEAD_SIZE * 2 == 1_342_177_280
    assert health.bytes_programmed == programmed_bytes
    assert health.placed_amplification == 1.0
    assert health.pages_read == 0


def test_a_dense_step_reads_every_whole_group() -> None:
    """K and V of all groups in flash, none of the tokens in the buffer, at lengths on both sides of a page's end."""
    drive = prefilled(None)
    for step in range(18):
        assert decoded(drive, step, None) == LANES * ((PROMPT + step) // GROUP_TOKENS)
    detail = drive.execute(Read(0, rows=np.array([0]), num_tokens=PROMPT + 18), 0.0).detail
    assert detail.pages_read == HEADS * 2 * ((PROMPT + 18) // GROUP_TOKENS)


@pytest.mark.parametrize(("channel_group", "amplification"), [(None, 1.0), (8, 1.5)])
def test_a_whole_generation_writes_everything_once(channel_group: int | None, amplification: float) -> None:
    """Decode, one token at a time, ends where prefill would have; reclaim and the next generation copy nothing."""
    drive = prefilled(channel_group)
    for step in range(DECODE):
        decoded(drive, step)
    health = drive.execute(Health(), 0.0).value
    assert health.bytes_written_by_host == BATCH * (PROMPT + DECODE) * 2 * HEADS * HEAD_SIZE * 2
    assert health.write_amplification == pytest.approx(amplification, rel=0.01)
    assert health.placed_amplification == pytest.approx(1.0, rel=0.01)
    assert health.valid_bytes == health.bytes_programmed
    drive.execute(Reclaim(tokens=(0, 1000)), 0.0)
    fronts = drive.execute(Health(), 0.0).value
    channel_tokens = 256
    pages = LANES * (1000 // GROUP_TOKENS) + (
        BATCH * HEADS * 16 * (1000 // channel_tokens) if channel_group else 0
    )
    assert health.valid_bytes - fronts.valid_bytes == pages * PAGE_BYTES
    drive.execute(Reclaim(), 0.0)
    after = drive.execute(Health(), 0.0).value
    assert after.pages_programmed == fronts.pages_programmed == health.pages_programmed
    assert after.free_bytes == after.capacity_bytes
    assert after.blocks_erased * 256 * PAGE_BYTES >= health.bytes_programmed
