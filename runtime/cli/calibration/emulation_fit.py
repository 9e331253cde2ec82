"""Fits what emulating drives takes to measured decodes.

``attend_s = command_s + bytes / bytes_per_s``, by non-negative least squares of relative errors; ways and steps are medians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy.optimize import nnls

from cost_models import EmulationSpec
from runtime.cli.calibration.drive_sessions import DriveSample


@dataclass(frozen=True)
class EmulationFit:
    """Holds what is closest to the measured decodes.

    Attributes:
        spec: What emulating takes.
        samples: What was measured.
    """

    spec: EmulationSpec
    samples: tuple[DriveSample, ...]

    def error(self, sample: DriveSample) -> float:
        """Returns how much longer an attention takes by the fit than measured, as a share."""
        return self.spec.attend_s(sample.num_bytes) / sample.attend_s - 1.0

    @property
    def residual(self) -> float:
        """Returns the root mean square of the relative errors of the attentions' times."""
        return float(np.sqrt(np.mean(np.square([self.error(sample) for sample in self.samples]))))


def fit_emulation(samples: Sequence[DriveSample]) -> EmulationFit:
    """Returns the values that are closest to samples, of which some differ in bytes."""
    seconds = np.array([sample.attend_s for sample in samples])
    columns = np.array([[1.0, sample.num_bytes] for sample in samples])
    scale = columns.max(axis=0)
    (command_s, inverse), _ = nnls(columns / scale / seconds[:, None], np.ones(len(seconds)))
    spec = EmulationSpec(
        bytes_per_s=float(scale[1] / max(inverse, 1e-12)),
        command_s=float(command_s),
        to_share_s=median(sample.to_share_s for sample in samples),
        from_share_s=median(sample.from_share_s for sample in samples),
        step_s=median(sample.step_s for sample in samples),
    )
    return EmulationFit(spec, tuple(samples))
