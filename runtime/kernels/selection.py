"""The largest of some numbers, without sorting them."""

import numpy as np

from runtime.kernels.compiling import inner


@inner
def choose_largest(values: np.ndarray, count: int, num_chosen: int, chosen: np.ndarray) -> None:
    """Chooses the ``num_chosen`` largest of ``count`` numbers that are not negative; of equal ones, those that come first.

    Such numbers are in the order of their bits, so the smallest chosen one is found by halving the range of bits: as many
    passes as bits at most, each of which counts many numbers at once.

    Args:
        values: float32 ``[count or more]``, contiguous.
        count: How many numbers there are.
        num_chosen: How many are wanted, ``count`` at most.
        chosen: int64 ``[num_chosen or more]``, written: their indices, ascending.
    """
    bits = values.view(np.uint32)
    if num_chosen == 0:
        return
    low = np.int64(0)  # at least num_chosen numbers have these bits or higher ones
    high = np.int64(0)  # fewer have
    for t in range(count):
        high = max(high, np.int64(bits[t]))
    high += 1
    while high - low > 1:
        middle = (low + high) // 2
        above = _count_from(bits, count, np.uint32(middle))
        if above >= num_chosen:
            low = middle
            if above == num_chosen:
                break
        else:
            high = middle
    smallest = np.uint32(low)
    equal = num_chosen - (_count_from(bits, count, np.uint32(low + 1)) if low < 0xFFFFFFFF else 0)
    n = 0
    for t in range(count):
        if bits[t] >= smallest:
            if bits[t] == smallest:
                if equal == 0:
                    continue
                equal -= 1
            chosen[n] = t
            n += 1


@inner
def _count_from(bits: np.ndarray, count: int, smallest: np.uint32) -> int:
    """Returns how many of the first ``count``, less than 2**31, are ``smallest`` or larger."""
    found = np.int32(0)
    for t in range(np.int32(count)):  # 32 bits, so that a vector counts as many numbers as it compares
        found = np.int32(found + (np.int32(1) if bits[t] >= smallest else np.int32(0)))
    return int(found)
