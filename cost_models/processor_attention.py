"""Decode attention over a part of a KV cache in the memory of a processor."""

from cost_models.checks import require_count
from cost_models.components import ComputeSpec
from cost_models.cost import Cost, with_overhead
from cost_models.roofline import effective_flops

NUM_KERNELS = {"gpu": 5, "host": 1}
"""Kernels of one attention over a part of a cache, by kind of processor. A GPU appends K and V, and makes scores, softmax and
the weighted sum (``runtime/share_attention``, as XLA compiles it); the host has one kernel (``runtime/host_attention``)."""


def processor_attend_cost(
    device: ComputeSpec,
    *,
    batch: int,
    kv_heads: int,
    group_size: int,
    head_size: int,
    context_len: int,
    kv_bytes_per_element: int,
    dtype: str,
) -> Cost:
    """Returns the time of one decode attention over a part of a cache, dispatch left aside.

    Each K and V element is read once and takes part in one multiplication and one addition for each query head of its group
    (arXiv 2409.04992: about one FLOP per byte at 16 bits without groups).

    Args:
        device: The processor.
        batch: Sequences.
        kv_heads: KV heads of the part.
        group_size: Query heads per KV head.
        head_size: d.
        context_len: Tokens read of each sequence.
        kv_bytes_per_element: Bytes of one element of the cache.
        dtype: Name of the dtype that is computed in.
    """
    for name, value in (("batch", batch), ("kv_heads", kv_heads), ("context_len", context_len)):
        require_count(name, value, minimum=0)
    elements = 2.0 * batch * kv_heads * context_len * head_size
    memory_s = elements * kv_bytes_per_element / device.attention_bytes_per_s
    compute_s = 2.0 * elements * group_size / effective_flops(device, dtype)
    overhead_s = NUM_KERNELS[device.kind] * device.kernel_s
    if memory_s >= compute_s:
        return with_overhead(memory_s, "memory", overhead_s)
    return with_overhead(compute_s, "compute", overhead_s)
