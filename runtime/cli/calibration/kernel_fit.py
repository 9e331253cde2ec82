"""Fits what predictions multiply with to measured decode steps.

Least squares on the logarithms of times: an error of ten per cent counts as much in a step of microseconds as in one of
milliseconds. What is minimised asks the cost model itself, so there is no second formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from cost_models import ComputeSpec, compute_cost
from runtime.cli.calibration.kernel_figures import ChainSample, KernelFigures

_BOUNDS = {
    "kernel_s": (1e-8, 1e-3),
    "matvec_s": (1e-8, 1e-3),
    "memory_efficiency": (1e-2, 1.0),
    "attention_efficiency": (1e-2, 1.0),
}
FITTED = tuple(_BOUNDS)
"""Fields of a processor that are fitted."""
_BEGIN = {"kernel_s": 2e-6, "matvec_s": 2e-6, "memory_efficiency": 0.7, "attention_efficiency": 0.7}


@dataclass(frozen=True)
class KernelFit:
    """Holds a processor whose predicted times are closest to those measured.

    Attributes:
        spec: The processor.
        residual: Root mean square of the logarithms of predicted over measured times of decode steps.
    """

    spec: ComputeSpec
    residual: float

    def seconds(self, sample: ChainSample) -> float:
        """Returns the predicted time of a chain."""
        return compute_cost(sample.work, self.spec, sample.dtype).seconds

    def error(self, sample: ChainSample) -> float:
        """Returns how much longer a chain takes by the fit than measured, as a share."""
        return self.seconds(sample) / sample.seconds - 1.0


def fit_kernels(figures: KernelFigures, memory_bytes: float) -> KernelFit:
    """Returns the processor that is closest to the measured decode steps.

    Peaks are the highest rates that any chain reached, so products of many rows have no efficiency besides. Everything else is
    fitted to decode steps alone, where rates stay below the peak: a reduction or a large product is a kernel unlike theirs.

    Args:
        figures: What was measured.
        memory_bytes: Capacity of the device's memory.
    """
    samples = figures.samples
    begin = ComputeSpec(
        name=figures.name,
        kind="gpu",
        memory_bytes=memory_bytes,
        memory_bytes_per_s=max(s.work.num_bytes / s.seconds for s in samples),
        peak_flops={
            dtype: max(s.work.flops / s.seconds for s in samples if s.dtype == dtype)
            for dtype in dict.fromkeys(s.dtype for s in samples)
        },
        launch_s=figures.launch_s,
        memory_efficiency=_BEGIN["memory_efficiency"],
        compute_efficiency=1.0,
    )
    steps = [s for s in samples if s.kind == "layers"]
    low, high = np.log(np.array([_BOUNDS[field] for field in FITTED])).T

    def spec_of(logs: np.ndarray) -> ComputeSpec:
        values = np.clip(np.exp(logs), np.exp(low), np.exp(high)).tolist()
        return replace(begin, **dict(zip(FITTED, values, strict=True)))

    def errors(logs: np.ndarray) -> np.ndarray:
        return log_errors(KernelFit(spec_of(logs), 0.0), steps)

    found = least_squares(errors, np.log(np.array([_BEGIN[f] for f in FITTED])), bounds=(low, high))
    return KernelFit(spec_of(found.x), float(np.sqrt(np.mean(np.square(errors(found.x))))))


def log_errors(fit: KernelFit, samples: Sequence[ChainSample]) -> np.ndarray:
    """Returns the logarithms of predicted over measured times, float64[samples]."""
    return np.log([fit.seconds(sample) / sample.seconds for sample in samples])
