"""What crosses and what is programmed for one layer of InstA-SparF, and at which rates."""

from __future__ import annotations

from dataclasses import dataclass

from partitioner import Workload
from partitioner.drive_cache import WITH_SECOND_K
from runtime.cli.reproduce.prediction import Prediction


@dataclass(frozen=True)
class LayerVolumes:
    """Holds bytes of one layer over a generation.

    Attributes:
        prefill_write: K and V of the prompts, once, as they cross to the drives.
        decode_read: Pages that attention reads in all decode steps.
        decode_write: K and V of new tokens as they are programmed in the long run, K a second time by channel.
    """

    prefill_write: float
    decode_read: float
    decode_write: float


@dataclass(frozen=True)
class LayerRates:
    """Holds rates in bytes per second.

    Attributes:
        decode_read: Bytes read over the time of decoding.
        prefill_write: K and V of the prompts over the time of the prefill, under whose compute they are written.
        decode_write: What flash takes in of new K and V beside reads: programs have the share of the planes' time that sensing
            leaves, and K is programmed twice.
    """

    decode_read: float
    prefill_write: float
    decode_write: float


def layer_volumes(found: Prediction, workload: Workload) -> LayerVolumes:
    """Returns the bytes of one layer of a generation with as many new tokens as a prompt has."""
    written = workload.batch_size * workload.prompt_len * found.kv_token_bytes / found.num_layers
    return LayerVolumes(written, found.layer_read_bytes, WITH_SECOND_K * written)


def layer_rates(found: Prediction, volumes: LayerVolumes) -> LayerRates:
    """Returns the rates of one drive."""
    flash, software = found.hardware.drives[0].flash, found.hardware.software
    efficiency = 1.0 if software is None else software.flash_read_efficiency
    sensing = efficiency * flash.channel_read_bytes_per_s / flash.array_read_bytes_per_s
    return LayerRates(
        decode_read=found.num_layers * volumes.decode_read / found.decode_s,
        prefill_write=found.num_layers * volumes.prefill_write / found.prefill_s,
        decode_write=flash.program_bytes_per_s * (1 - sensing) / WITH_SECOND_K,
    )
