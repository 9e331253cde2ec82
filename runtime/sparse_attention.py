"""What a drive is told of sparse attention."""

from __future__ import annotations

import numpy as np

from partitioner.ir.op import Attention
from runtime.csd import Sparse


def sparse_of(attention: Attention, lengths: np.ndarray) -> Sparse | None:
    """Returns how much of a cache a drive reads for sequences of some lengths; None where attention is exact.

    What the tokens that are left out weigh goes to the mean of V, except where query heads share KV heads (SparQ's authors
    leave it out there), and except in a window, since drives keep the sum of V over all tokens. Tokens are chosen from the
    window alone; a soft cap and a bias by distance count in the choice as in the attention.

    Args:
        attention: Description of the attention.
        lengths: Integer ``[n]``, tokens of each sequence, the new one included.
    """
    sparsity = attention.sparsity
    if sparsity is None:
        return None
    seen = [attention.tokens_seen(int(n)) for n in lengths]
    return Sparse(
        num_channels=sparsity.channels(attention.head_size),
        num_tokens=np.array([sparsity.tokens(n) for n in seen], np.int64),
        num_newest=np.array([sparsity.newest(n) for n in seen], np.int64),
        mean_value=attention.group_size == 1 and attention.window is None,
    )
