"""Logical addresses: which part of which task's cache a page holds, in one number of 32 or 64 bits.

The fields are those of InstInfer (arXiv 2409.04992), which addresses K and V by (task, batch, layer, token, head,
channel) in 32 bits. An address names a page: tokens are counted in pages along the token axis, and the channel
field says which kind of page it is and, for K by channel, which channels. So OPT-13B at batch 64 and 2,048 tokens takes
32 bits.
"""

from dataclasses import astuple, dataclass, fields
from typing import NamedTuple

import numpy as np

from runtime.csd.errors import DriveError
from runtime.csd.task import Task

KEY_PAGE, VALUE_PAGE, FIRST_CHANNEL_PAGE = 0, 1, 2
"""Values of the channel field: K by token, V by token, and K by channel from its first channels on."""

_LEAST_TASKS = 4  # every layout has room for so many, so that the usual numbers do not change it


class LogicalAddress(NamedTuple):
    """The fields of addresses, each int64 in the shape of what was unpacked.

    Attributes:
        task: Number of the task.
        batch: Sequence.
        layer: Layer.
        token: Group of tokens, or channel group.
        head: KV head.
        channel: :data:`KEY_PAGE`, :data:`VALUE_PAGE`, or :data:`FIRST_CHANNEL_PAGE` plus the channel page of the group.
    """

    task: np.ndarray
    batch: np.ndarray
    layer: np.ndarray
    token: np.ndarray
    head: np.ndarray
    channel: np.ndarray


@dataclass(frozen=True)
class AddressLayout:
    """The bits of each field, the first field in the highest bits.

    Attributes:
        task: Bits of the task's number.
        batch: Bits of the sequence.
        layer: Bits of the layer.
        token: Bits of the page along the token axis.
        head: Bits of the KV head.
        channel: Bits of the kind of page and its channels.
    """

    task: int
    batch: int
    layer: int
    token: int
    head: int
    channel: int

    def __post_init__(self) -> None:
        if self.num_bits > 64:
            raise DriveError(
                f"addresses of this shape take {self.num_bits} bits ({self._fields()}) and a page's spare area has "
                "64; configure fewer sequences, layers, tokens or heads"
            )

    @classmethod
    def of(cls, task: Task) -> "AddressLayout":
        """Returns the layout that a task's shape needs.

        Raises:
            DriveError: It needs more than 64 bits.
        """
        return cls(
            task=_bits(max(task.number + 1, _LEAST_TASKS)),
            batch=_bits(task.batch_size),
            layer=_bits(task.num_layers),
            token=_bits(max(task.groups_per_sequence, task.channel_groups_per_sequence)),
            head=_bits(task.num_kv_heads),
            channel=_bits(FIRST_CHANNEL_PAGE + task.channel_pages),
        )

    @property
    def num_bits(self) -> int:
        """Bits of all fields."""
        return sum(astuple(self))

    @property
    def width(self) -> int:
        """Bits of an address: 32, or 64 where 32 do not do."""
        return 32 if self.num_bits <= 32 else 64

    def pack(
        self,
        task: np.ndarray | int,
        batch: np.ndarray | int,
        layer: np.ndarray | int,
        token: np.ndarray | int,
        head: np.ndarray | int,
        channel: np.ndarray | int,
    ) -> np.ndarray:
        """Returns addresses, uint64 in the shape that the fields broadcast to.

        Raises:
            DriveError: A value does not fit its field.
        """
        address = np.zeros((), np.uint64)
        values = (task, batch, layer, token, head, channel)
        for field, value in zip(fields(self), values, strict=True):
            bits, array = getattr(self, field.name), np.asarray(value)
            if array.size and not 0 <= array.min() <= array.max() < 1 << bits:
                raise DriveError(
                    f"{field.name} {int(array.min())} to {int(array.max())} does not fit the {bits} bits of {self}; "
                    "use the layout of the task that the address is for"
                )
            address = (address << np.uint64(bits)) | array.astype(np.uint64)
        return address

    def unpack(self, addresses: np.ndarray) -> LogicalAddress:
        """Returns the fields of addresses, uint64 of any shape."""
        rest, values = np.asarray(addresses, np.uint64), []
        for bits in reversed(astuple(self)):
            values.append((rest & np.uint64((1 << bits) - 1)).astype(np.int64))
            rest = rest >> np.uint64(bits)
        return LogicalAddress(*reversed(values))

    def __str__(self) -> str:
        unused = self.width - self.num_bits
        return f"{self.width} bits: " + (f"unused {unused} | " if unused else "") + self._fields()

    def _fields(self) -> str:
        return " | ".join(f"{field.name} {getattr(self, field.name)}" for field in fields(self))


def _bits(count: int) -> int:
    """Returns the bits that tell ``count`` values apart."""
    return (count - 1).bit_length()
