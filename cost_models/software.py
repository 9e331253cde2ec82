"""What the software of published systems adds to hardware: rates of paths and times of layers that no datasheet has.

A description without it is hardware alone. One set holds for every model, batch and number of drives; the ``paper-...``
presets have the one that the published figures of InstInfer fix (see docs/evaluation.md).
"""

import dataclasses
from dataclasses import dataclass

from cost_models.checks import require_fraction, require_positive
from cost_models.components import DriveSpec


@dataclass(frozen=True, kw_only=True)
class SoftwareSpec:
    """Holds the parameters of a software stack; every one is fitted to published figures.

    Attributes:
        storage_bytes_per_s: Rate at which the host's storage path hands over what lies in files: system calls and copies, in
            series with the drive's link for what is not in the page cache.
        host_copy_bytes_per_s: Rate at which a stack copies KV caches from host memory to a GPU.
        swap_bytes_per_s: Rate at which host memory that was swapped out comes back, by bytes of K and V.
        host_bytes_per_kv_byte: Bytes of host memory that a stack holds per byte of K and V it keeps there (staging copies,
            rounding of its allocator).
        engine_flops: Sustained FLOP/s of a drive's engine in arithmetic that does not hide behind flash reads.
        flash_read_efficiency: Share of the channels' rate at which a drive reads pages for attention.
        layer_s: Seconds of a layer of a decode step in the stack (scheduling, synchronisation), whatever the batch.
        tokens_per_cluster: Wanted tokens of a sparse attention that lie next to each other, on average.
    """

    storage_bytes_per_s: float
    host_copy_bytes_per_s: float
    swap_bytes_per_s: float
    host_bytes_per_kv_byte: float
    engine_flops: float
    flash_read_efficiency: float
    layer_s: float
    tokens_per_cluster: float

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            require_positive(field.name, getattr(self, field.name))
        require_fraction("flash_read_efficiency", self.flash_read_efficiency)

    def drive(self, drive: DriveSpec) -> DriveSpec:
        """Returns a drive as this software reads it: at its share of the channels' rate."""
        rate = drive.flash.channel_bytes_per_s * self.flash_read_efficiency
        return dataclasses.replace(drive, flash=dataclasses.replace(drive.flash, channel_bytes_per_s=rate))

    def engine_s(self, flops: float) -> float:
        """Returns the seconds of a drive's engine that do not hide behind its reads."""
        return flops / self.engine_flops

    def file_read_s(self, wanted_bytes: float, missed_bytes: float, link_bytes_per_s: float) -> float:
        """Returns the seconds in which the storage path hands over bytes of files.

        Reads are synchronous: what is missing in the page cache crosses a drive's link first and is handed over then, and one
        drive is read at a time.

        Args:
            wanted_bytes: Bytes handed over.
            missed_bytes: Bytes of the pages that are read from a drive for them.
            link_bytes_per_s: Rate of the drive's link.
        """
        return wanted_bytes / self.storage_bytes_per_s + missed_bytes / link_bytes_per_s

    def host_copy_s(self, num_bytes: float, *, swapped: bool) -> float:
        """Returns the seconds in which K and V are copied from host memory to a GPU, swapped in before if need be."""
        return num_bytes / self.host_copy_bytes_per_s + (
            num_bytes / self.swap_bytes_per_s if swapped else 0.0
        )
