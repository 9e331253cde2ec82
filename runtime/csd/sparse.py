"""Sparse attention (SparF): what a command asks for, what it read, and the checks of it.

Step one estimates what every token weighs, from the channels in which the query is largest; step two attends to the tokens that
weigh most. InstInfer, arXiv 2409.04992; the algorithm is SparQ's, arXiv 2312.04985.
"""

from dataclasses import dataclass, replace

import numpy as np

from runtime.csd.checks import check_integers
from runtime.csd.errors import DriveError
from runtime.csd.task import Task


@dataclass(frozen=True, eq=False)
class Sparse:
    """How much of the cache an attention reads.

    A sequence that has no more than ``num_tokens`` tokens is attended to exactly.

    Attributes:
        num_channels: Channels of K that step one reads for each KV head.
        num_tokens: Integer ``[n]``, tokens that step two reads for each KV head.
        num_newest: Integer ``[n]``, the newest of them, read whatever they weigh.
        mean_value: What the other tokens weigh goes to the mean of V. Without it, the weights of the tokens read sum to 1
            (SparQ's authors do so where query heads share KV heads).
    """

    num_channels: int
    num_tokens: np.ndarray
    num_newest: np.ndarray
    mean_value: bool

    def of(self, sequences: np.ndarray) -> "Sparse":
        """Returns the same of some sequences, int ``[m]``."""
        return replace(self, num_tokens=self.num_tokens[sequences], num_newest=self.num_newest[sequences])

    def __post_init__(self) -> None:
        if self.num_channels < 1:
            raise DriveError(f"num_channels is {self.num_channels}; step one needs at least 1")
        if np.ndim(self.num_tokens) != 1 or np.shape(self.num_tokens) != np.shape(self.num_newest):
            raise DriveError(
                f"num_tokens has shape {np.shape(self.num_tokens)} and num_newest {np.shape(self.num_newest)}; "
                "give one number for each sequence in both"
            )
        wrong = np.flatnonzero(
            (self.num_tokens < 1) | (self.num_newest < 0) | (self.num_newest > self.num_tokens)
        )
        if wrong.size:
            raise DriveError(
                f"step two is to read {int(self.num_tokens[wrong[0]])} tokens, {int(self.num_newest[wrong[0]])} newest ones "
                "among them; read at least 1 token, and no more newest ones than tokens"
            )


@dataclass(frozen=True, eq=False)
class TwoSteps:
    """Flash pages that a sparse attention reads.

    Attributes:
        step_one: int64 ``[channels]``, pages from which tokens are chosen.
        step_two: int64 ``[channels]``, pages of chosen tokens, less those that step one read already.
        num_pairs: (sequence, KV head) pairs, each of which chooses for itself.
        entries_bytes: Bytes of elements in these pages that the filters behind flash let pass.
    """

    step_one: np.ndarray
    step_two: np.ndarray
    num_pairs: int
    entries_bytes: int

    @property
    def pages(self) -> np.ndarray:
        """Pages of both steps, int64 ``[channels]``."""
        return self.step_one + self.step_two

    @property
    def counts(self) -> "StepCounts":
        """Returns the sums over all channels."""
        return StepCounts(int(self.step_one.sum()), int(self.step_two.sum()), self.entries_bytes)


@dataclass(frozen=True)
class StepCounts:
    """What sparse attention read from flash.

    Attributes:
        pages_step_one: Pages from which tokens were chosen.
        pages_step_two: Pages of chosen tokens, less those that step one had read already.
        entries_bytes: Bytes of elements in all of them that the filters behind flash let pass.
    """

    pages_step_one: int = 0
    pages_step_two: int = 0
    entries_bytes: int = 0

    def __add__(self, other: "StepCounts") -> "StepCounts":
        """Returns what both read."""
        return StepCounts(
            self.pages_step_one + other.pages_step_one,
            self.pages_step_two + other.pages_step_two,
            self.entries_bytes + other.entries_bytes,
        )


def check_sparse(
    task: Task,
    layer: int,
    sparse: Sparse,
    rows: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    stored: np.ndarray,
) -> Sparse:
    """Returns what a command asks for, its arrays int64.

    Args:
        task: Shape of the cache.
        layer: Layer that is attended to.
        sparse: What is asked for.
        rows: Sequences, int64 ``[n]``.
        first: Oldest token attended to, int64 ``[n]``.
        last: Token after the newest one, int64 ``[n]``.
        stored: Tokens that will be stored then, int64 ``[n]``.

    Raises:
        DriveError: The layer has no second copy of K, a head has fewer channels, a number is missing, or the mean of V is
            wanted of other tokens than those over which the drive keeps the sum.
    """
    if not task.channel_pages:
        raise DriveError(
            "sparse attention reads K by channel, and this cache keeps it by token only; "
            "configure a channel_group, or attend without sparse"
        )
    if not task.keeps_channels(layer):
        raise DriveError(
            f"sparse attention reads K by channel, and layer {layer} of this cache keeps it by token only; "
            "set that layer in layer_by_channel, or attend without sparse"
        )
    if sparse.num_channels > task.head_size:
        raise DriveError(
            f"num_channels is {sparse.num_channels}, and a head has {task.head_size}; give that many at most"
        )
    num_tokens = check_integers("num_tokens", sparse.num_tokens, len(rows))
    num_newest = check_integers("num_newest", sparse.num_newest, len(rows))
    apart = (num_tokens < last - first) & ((first > 0) | (last < stored))
    if sparse.mean_value and apart.any():
        i = int(np.flatnonzero(apart)[0])
        raise DriveError(
            f"mean_value needs the mean of V over tokens {int(first[i])} to {int(last[i])} of sequence {int(rows[i])}; the "
            f"drive keeps the sum over all {int(stored[i])} tokens. Attend to all of them, or set mean_value to False"
        )
    return Sparse(sparse.num_channels, num_tokens, num_newest, sparse.mean_value)
