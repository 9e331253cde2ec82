"""A processor with every figure that is fitted to decode steps."""

from cost_models import ComputeSpec

MADE_UP = ComputeSpec(
    name="made up",
    kind="gpu",
    memory_bytes=1e11,
    memory_bytes_per_s=4e12,
    peak_flops={"float16": 8e14},
    launch_s=5e-6,
    memory_efficiency=0.9,
    compute_efficiency=1.0,
    kernel_s=2.5e-6,
    matvec_s=6.5e-6,
    attention_efficiency=0.75,
)
