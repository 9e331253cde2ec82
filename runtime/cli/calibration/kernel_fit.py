"""Fits what predictions multiply with to measured chains of kernels.

Least squares on the logarithms of times: an error of ten per cent counts as much in a chain of microseconds as in one of
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
    "memory_efficiency": (1e-2, 1.0),
    "matvec_efficiency": (1e-2, 1.0),
    "compute_efficiency": (1e-2, 1.0),
}
_HEADROOM = 2.0
"""How far above the highest measured rates the fit looks for them."""
_BEGIN = {
    "kernel_s": 2e-6,
    "memory_efficiency": 0.4,
    "matvec_efficiency": 0.3,
    "compute_efficiency": 0.35,
}


@dataclass(frozen=True)
class KernelFit:
    """Holds a processor whose predicted times are closest to those measured.

    Attributes:
        spec: The processor.
        residual: Root mean square of the logarithms of predicted over measured times.
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
    """Returns the processor that is closest to the measured times.

    Efficiencies are shares of the highest rates that were measured, or of the fitted ones where those are higher: no chain
    quite reaches them, since each has kernels that start and end.

    Args:
        figures: What was measured.
        memory_bytes: Capacity of the device's memory.
    """
    samples = figures.samples
    begin = ComputeSpec(
        name=figures.name,
        kind="gpu",
        memory_bytes=memory_bytes,
        memory_bytes_per_s=_HEADROOM * max(s.work.num_bytes / s.seconds for s in samples),
        peak_flops={
            dtype: _HEADROOM * max(s.work.flops / s.seconds for s in samples if s.dtype == dtype)
            for dtype in dict.fromkeys(s.dtype for s in samples)
        },
        launch_s=figures.launch_s,
        kernel_s=_BEGIN["kernel_s"],
        memory_efficiency=_BEGIN["memory_efficiency"],
        matvec_efficiency=_BEGIN["matvec_efficiency"],
        compute_efficiency=_BEGIN["compute_efficiency"],
    )
    fields = tuple(_BOUNDS)
    low, high = np.log(np.array([_BOUNDS[field] for field in fields])).T

    def spec_of(logs: np.ndarray) -> ComputeSpec:
        values = np.clip(np.exp(logs), np.exp(low), np.exp(high)).tolist()
        return replace(begin, **dict(zip(fields, values, strict=True)))

    def errors(logs: np.ndarray) -> np.ndarray:
        return log_errors(KernelFit(spec_of(logs), 0.0), samples)

    found = least_squares(errors, np.log(np.array([_BEGIN[f] for f in fields])), bounds=(low, high))
    fit = KernelFit(_at_most_one(spec_of(found.x)), 0.0)
    return replace(fit, residual=float(np.sqrt(np.mean(np.square(log_errors(fit, samples))))))


def _at_most_one(spec: ComputeSpec) -> ComputeSpec:
    """Returns the same processor with its efficiencies as shares of the highest rates, measured or fitted."""
    read, matvec = spec.memory_bytes_per_s * spec.memory_efficiency, spec.matvec_bytes_per_s
    rate = max(spec.memory_bytes_per_s / _HEADROOM, read, matvec)
    computing = max(1.0 / _HEADROOM, spec.compute_efficiency)
    return replace(
        spec,
        memory_bytes_per_s=rate,
        memory_efficiency=read / rate,
        matvec_efficiency=matvec / rate,
        peak_flops={dtype: flops * computing for dtype, flops in spec.peak_flops.items()},
        compute_efficiency=spec.compute_efficiency / computing,
    )


def log_errors(fit: KernelFit, samples: Sequence[ChainSample]) -> np.ndarray:
    """Returns the logarithms of predicted over measured times, float64[samples]."""
    return np.log([fit.seconds(sample) / sample.seconds for sample in samples])
