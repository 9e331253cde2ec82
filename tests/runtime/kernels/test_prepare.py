"""What is compiled ahead is what attentions then run: there is one variant of each entry point."""

import numpy as np
import pytest

from cost_models import HardwareSpec
from runtime import core_threads, host_attention
from runtime.csd import Attend, Configure, Drive, Sparse, Write
from runtime.kernels import attend_memory, attend_pages, attend_sparse, count_tokens, split_pairs, thread_team

ENTRY_POINTS = {
    "attend_memory": attend_memory.attend_memory,
    "attend_pages": attend_pages.attend_pages,
    "attend_sparse": attend_sparse.attend_sparse,
    "count_tokens": count_tokens.count_tokens,
    "split_pairs": split_pairs.split_pairs,
    "found": thread_team.found,
}


def variants() -> dict[str, int]:
    """Returns how many variants of each entry point are compiled."""
    return {name: len(entry.signatures) for name, entry in ENTRY_POINTS.items()}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("sloped", [False, True])
@pytest.mark.parametrize("window", [None, 4])
def test_no_attention_waits_for_the_compiler(
    monkeypatch: pytest.MonkeyPatch, frozen: bool, sloped: bool, window: int | None
) -> None:
    """Arrays that come from JAX cannot be written."""
    monkeypatch.setattr(core_threads, "BYTES_PER_PART", 64)  # several parts of little work
    heads, lengths, rows = 2, np.array([64, 64]), np.array([0, 1])
    drive = Drive(HardwareSpec.load("a6000-csd").drives[0])
    drive.execute(Configure(1, heads, heads, 64, np.dtype(np.float16), 2, 64, channel_group=8), 0.0)
    host_attention.prepare()
    before = variants()
    assert set(before.values()) <= {1} | ({0, 1} if core_threads.num_cores() == 1 else set())
    rng = np.random.default_rng(0)
    key, value = rng.standard_normal((2, 2, heads, 64, 64)).astype(np.float16)
    query = rng.standard_normal((2, heads, 64)).astype(np.float32)
    slopes = np.array([0.1, 0.2], np.float32) if sloped else None
    drive.execute(Write(0, key, value, np.zeros(2, np.int32), lengths), 0.0)
    num_tokens, num_newest = np.array([3, 3]), np.array([1, 1])
    sparse = Sparse(8, num_tokens, num_newest, mean_value=window is None)
    for array in (key, value, query, lengths, rows, num_tokens, num_newest, slopes):
        if array is not None:
            array.setflags(write=not frozen)
    for how in (None, sparse):
        drive.execute(
            Attend(0, query, None, None, lengths, 0.1, rows=rows, window=window, sparse=how, slopes=slopes),
            0.0,
        )
    host_attention.attend_host(query, (key, value), lengths, 0.1, window=window, slopes=slopes)
    assert variants() == before
