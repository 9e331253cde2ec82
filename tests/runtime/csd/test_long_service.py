"""Eight hours of decoding, in the drive's own time: memory and free pages do not drift while tasks come and go."""

import gc
import tracemalloc

import numpy as np

from runtime.csd import Attend, Configure, Drive, Health, Reclaim, Release, Write

from .drives import spec, tokens

EIGHT_HOURS_S = 8 * 3600.0
STEP_S = 16.0  # emulated seconds between commands: each is over long before the next comes
DRIFT_BYTES = 64 << 10


def serve(drive: Drive, rng: np.random.Generator, number: int, start_s: float) -> float:
    """Runs one task from its prompt to its end and returns when it is over."""
    now_s = start_s
    drive.execute(
        Configure(
            2, 2, 2, 4, np.dtype(np.float32), 3, 40, channel_group=(None, 2, 4)[number % 3], task=number % 2
        ),
        now_s,
    )
    prompt = tokens(rng, 3, 2, 16, 4)
    for layer in range(2):
        drive.execute(Write(layer, prompt, prompt, np.zeros(3, int), task=number % 2), now_s)
    for length in range(17, 41):
        new = tokens(rng, 3, 2, 4)
        for layer in range(2):
            now_s += STEP_S
            done = drive.execute(
                Attend(layer, new, new, new, np.full(3, length), 0.5, task=number % 2), now_s
            )
            assert done.end_s < now_s + STEP_S
    if number % 3 == 1:
        drive.execute(Reclaim(task=number % 2), now_s)
    elif number % 3 == 2:
        drive.execute(Release(number % 2), now_s)
    return now_s


def test_eight_hours_leave_nothing_behind() -> None:
    """The state after every 12 tasks is that after the first 12; only wear and time go on."""
    drive, rng = Drive(spec(blocks_per_plane=16)), np.random.default_rng(0)
    free_bytes, stored_bytes, valid_bytes, traced = [], [], [], []
    now_s, number = 0.0, 0
    tracemalloc.start()
    try:
        while now_s < EIGHT_HOURS_S:
            for _ in range(12):
                now_s = serve(drive, rng, number, now_s)
                number += 1
            health = drive.execute(Health(), now_s).value
            free_bytes.append(health.free_bytes)
            valid_bytes.append(health.valid_bytes)
            stored_bytes.append(drive._nand.stored_bytes)
            del health
            gc.collect()
            traced.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(traced) >= 3
    assert len(set(free_bytes)) == len(set(valid_bytes)) == len(set(stored_bytes)) == 1
    assert traced[-1] - traced[1] < DRIFT_BYTES
    health = drive.execute(Health(scan=True), now_s).value
    assert health.checksum_errors == health.misdirected_pages == 0
    by_unit = drive._nand.wear.reshape(-1, 16)
    assert (by_unit.max(axis=1) - by_unit.min(axis=1)).max() <= 3
