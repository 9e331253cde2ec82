"""What a processor's share of a decode attention asks of it.

Emulated processors are throttled by this count, as by :mod:`runtime.demand`; it shares parameters with the predictions and no
code. The GPU's kernel has fixed shapes, so it reads the whole cache of its rows and KV heads; the host's reads valid
tokens, those of a window alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cost_models.components import ComputeSpec
from partitioner.ir.op import Attention
from partitioner.shares import Share


@dataclass(frozen=True)
class AttentionDemand:
    """Holds what one attention over a share demands.

    Attributes:
        flops: Of the two products.
        num_bytes: K and V read.
        dtype: Name of the dtype of the products, which chooses the peak.
        num_kernels: What its executable starts one after another.
    """

    flops: float
    num_bytes: float
    dtype: str
    num_kernels: int = 1

    def seconds(self, spec: ComputeSpec) -> float:
        """Returns how long a processor takes, the launch included."""
        own = spec.attention_efficiency
        efficiency = spec.memory_efficiency if own is None else own
        arithmetic_s = self.flops / (spec.flops(self.dtype) * spec.compute_efficiency)
        busy_s = max(arithmetic_s, self.num_bytes / (spec.memory_bytes_per_s * efficiency))
        return spec.launch_s + busy_s + self.num_kernels * spec.kernel_s


def gpu_demand(
    attention: Attention, share: Share, max_len: int, itemsize: int, num_gpus: int = 1
) -> AttentionDemand:
    """Returns the demand of a share on GPUs, whose cache has room for ``max_len`` tokens of ``itemsize`` bytes an element.

    Several GPUs share KV heads, or else rows, where that goes evenly; where it does not, every one attends to all.
    """
    is_even = share.num_kv_heads % num_gpus == 0 or share.num_rows % num_gpus == 0
    pairs = share.num_rows * share.num_kv_heads * max_len * (1 if is_even else num_gpus)
    appended, products, softmax = 2, 2, 1
    num_kernels = appended + products + softmax
    return _demand(attention, pairs, itemsize, attention.cache_dtype, num_kernels)


def host_demand(attention: Attention, share: Share, lengths: np.ndarray, itemsize: int) -> AttentionDemand:
    """Returns the demand of a share on the host, which computes in float32, at rows of ``lengths`` tokens.

    Of a window of newest tokens it reads what is in it.
    """
    own = lengths if share.cut is None else share.cut.attended(lengths)
    seen = own if attention.window is None else np.minimum(own, attention.window)
    return _demand(attention, int(seen.sum()) * share.num_kv_heads, itemsize, "float32")


def _demand(
    attention: Attention, pairs: int, itemsize: int, dtype: str, num_kernels: int = 1
) -> AttentionDemand:
    """Returns the demand of attending over ``pairs`` of a token and a KV head."""
    flops = 4.0 * pairs * attention.group_size * attention.head_size
    return AttentionDemand(flops, 2.0 * pairs * attention.head_size * itemsize, dtype, num_kernels)
