"""The roofline of a processor: time is the larger of computing and moving data, and the start and end of each kernel.

References:
    Williams, Waterman, Patterson: Roofline: an insightful visual performance model, CACM 52(4), 2009.
"""

from cost_models.components import ComputeSpec
from cost_models.cost import Cost, slowest, with_overhead
from cost_models.work import Work


def compute_cost(work: Work, device: ComputeSpec, dtype: str) -> Cost:
    """Returns the time a work takes on a processor, dispatch left aside.

    Args:
        work: FLOP and bytes to and from the device's own memory.
        device: The processor.
        dtype: Name of the dtype that is computed in, such as ``"float16"``.

    Returns:
        ``max(flops / effective peak, bytes / effective memory rate) + kernels * kernel_s + matvecs * matvec_s``, where batches
        of matrices that each meet one vector are read at a rate of their own; work without bytes, FLOP and kernels is free.
    """
    compute = Cost(work.flops / effective_flops(device, dtype), "compute")
    streamed_s = (work.num_bytes - work.batched_matvec_bytes) / effective_bytes_per_s(device)
    memory = Cost(streamed_s + work.batched_matvec_bytes / device.batched_matvec_bytes_per_s, "memory")
    kernels_s = work.num_kernels * device.kernel_s + work.num_matvecs * device.matvec_s
    busy = slowest((memory, compute))
    return with_overhead(busy.seconds, busy.bound, kernels_s)


def launch_cost(device: ComputeSpec, num_dispatches: int = 1) -> Cost:
    """Returns the overhead of dispatching segments to a processor."""
    return Cost(device.launch_s * num_dispatches, "overhead")


def ridge_point(device: ComputeSpec, dtype: str) -> float:
    """Returns the arithmetic intensity, in FLOP per byte, above which a device is compute-bound."""
    return effective_flops(device, dtype) / effective_bytes_per_s(device)


def effective_flops(device: ComputeSpec, dtype: str) -> float:
    """Returns the FLOP/s that large matrix products reach."""
    return device.flops(dtype) * device.compute_efficiency


def effective_bytes_per_s(device: ComputeSpec) -> float:
    """Returns the memory rate that streaming code reaches."""
    return device.memory_bytes_per_s * device.memory_efficiency
