"""What the equations of an op cost on a processor."""

from __future__ import annotations

from cost_models import ComputeSpec, Cost, Work, compute_cost, sequential
from partitioner.ir.op import Op


def processor_cost(op: Op, spec: ComputeSpec, scale: float, weight_bytes: float, *, whole: bool) -> Cost:
    """Returns the time of one execution of an op's own equations.

    Args:
        op: The op.
        spec: The processor.
        scale: Rows over the rows it was traced with.
        weight_bytes: Bytes of weights among those it reads, which rows do not change.
        whole: Whether the processor stands for all GPUs, so that what they all do alike counts for each.
    """
    stages = [(work, weight_bytes) for work in op.remakes[:1]]
    stages += [(work, 0.0) for work in op.remakes[1:]]
    stages.append((op.work, 0.0 if op.remakes else weight_bytes))
    if whole:
        work, fixed = stages[-1]
        stages[-1] = work + op.repeated, fixed + (op.repeated.bytes_read if fixed else 0.0)
    return sequential([compute_cost(_scaled(work, scale, fixed), spec, op.dtype) for work, fixed in stages])


def _scaled(work: Work, scale: float, weight_bytes: float) -> Work:
    """Returns the demand of another number of rows: all but the weights and the kernels grows with them."""
    if scale == 1.0:
        return work
    fixed = min(weight_bytes, work.bytes_read)
    bytes_read = fixed + (work.bytes_read - fixed) * scale
    return Work(
        work.flops * scale,
        bytes_read,
        work.bytes_written * scale,
        work.num_kernels,
        work.num_matvecs,
        min(work.batched_matvec_bytes * scale, bytes_read),
    )
