"""Brings models of several kinds into one form and traces them."""

from partitioner.frontend.adapt import adapt
from partitioner.frontend.hugging_face import from_hugging_face
from partitioner.frontend.linen_module import from_linen
from partitioner.frontend.nnx_cache import from_nnx_cache
from partitioner.frontend.nnx_module import from_nnx
from partitioner.frontend.plain_step import from_step
from partitioner.frontend.step_function import StepFunction
from partitioner.frontend.trace import TracedInput, TracedOutput, TracedPhase, trace_phase

__all__ = [
    "StepFunction",
    "TracedInput",
    "TracedOutput",
    "TracedPhase",
    "adapt",
    "from_hugging_face",
    "from_linen",
    "from_nnx",
    "from_nnx_cache",
    "from_step",
    "trace_phase",
]
