"""Fits the roofline of a processor to measured matrix products.

``seconds = launch_s + max(flops / (peak * compute_efficiency), bytes / (rate * memory_efficiency))``: once it is known which of
the two sets each sample, seconds are linear in the launch and in one over each efficiency. So the fit alternates between
choosing sides and non-negative least squares of relative errors, until no sample changes sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from runtime.cli.calibration.processor import ProcessorFigures, Sample

_ROUNDS = 20


@dataclass(frozen=True)
class Roofline:
    """Holds what a processor's table of a hardware file holds.

    Attributes:
        peak_flops: Highest measured FLOP/s by dtype, dispatches left aside.
        memory_bytes_per_s: Highest measured rate of reading memory.
        launch_s: Fitted seconds of a dispatch.
        compute_efficiency: Fitted share of ``peak_flops``.
        memory_efficiency: Fitted share of ``memory_bytes_per_s``.
        residual: Root mean square of the relative errors of the fitted times.
    """

    peak_flops: dict[str, float]
    memory_bytes_per_s: float
    launch_s: float
    compute_efficiency: float
    memory_efficiency: float
    residual: float

    def seconds(self, sample: Sample) -> float:
        """Returns the time of a sample by these values."""
        compute_s, memory_s = _sides(sample, self.peak_flops, self.memory_bytes_per_s)
        return self.launch_s + max(compute_s / self.compute_efficiency, memory_s / self.memory_efficiency)


def fit_roofline(figures: ProcessorFigures) -> Roofline:
    """Returns the roofline that is closest to the measured times, as shares of the highest rates that were measured."""
    samples = figures.samples
    peaks = {
        dtype: max(s.flops / _without(s.seconds, figures.dispatch_s) for s in samples if s.dtype == dtype)
        for dtype in dict.fromkeys(s.dtype for s in samples)
    }
    rates = [s.num_bytes / _without(s.seconds, figures.dispatch_s) for s in samples]
    rate = max(figures.read_bytes_per_s, *rates)
    sides = np.array([_sides(s, peaks, rate) for s in samples])
    seconds = np.array([s.seconds for s in samples])
    inverse = np.ones(2)
    launch_s = 0.0
    bound = np.full(len(samples), -1)
    for _ in range(_ROUNDS):
        chosen = np.argmax(sides * inverse, axis=1)
        if (chosen == bound).all():
            break
        bound = chosen
        launch_s, inverse = _solve(sides, seconds, bound, inverse)
    line = Roofline(peaks, rate, launch_s, float(1.0 / inverse[0]), float(1.0 / inverse[1]), 0.0)
    residual = float(np.sqrt(np.mean(np.square(errors_of(line, samples)))))
    return replace(line, residual=residual)


def _solve(
    sides: np.ndarray, seconds: np.ndarray, bound: np.ndarray, before: np.ndarray
) -> tuple[float, np.ndarray]:
    """Returns launch and inverse efficiencies for given sides; a side without samples keeps its value.

    Args:
        sides: [samples, 2], seconds at full rate of computing and of moving data.
        seconds: [samples], measured.
        bound: [samples], 0 or 1.
        before: [2], inverse efficiencies of the last round.
    """
    columns = np.stack(
        [np.ones(len(seconds)), *(np.where(bound == side, sides[:, side], 0.0) for side in (0, 1))], 1
    )
    found, _ = nnls(columns / seconds[:, None], np.ones(len(seconds)))
    present = [bool((bound == side).any()) for side in (0, 1)]
    inverse = np.where(present, np.maximum(found[1:], 1.0), before)  # an efficiency is at most 1
    return float(found[0]), inverse


def _without(seconds: float, dispatch_s: float) -> float:
    """Returns seconds without those of the dispatch, which noise must not make up most of."""
    return max(seconds - dispatch_s, seconds / 2)


def _sides(sample: Sample, peaks: dict[str, float], rate: float) -> tuple[float, float]:
    return sample.flops / peaks[sample.dtype], sample.num_bytes / rate


def errors_of(line: Roofline, samples: Sequence[Sample]) -> list[float]:
    """Returns how much longer each sample takes by the roofline than measured, as a share."""
    return [line.seconds(sample) / sample.seconds - 1.0 for sample in samples]
