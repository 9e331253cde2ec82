"""The GPU of a plan: JAX's default device, which is a CPU on machines without one."""

from __future__ import annotations

import jax

from cost_models.hardware import HardwareSpec
from runtime.devices.processor import Processor
from runtime.event_log import EventLog
from runtime.pace import Pace


def make_gpu(hw: HardwareSpec, pace: Pace, log: EventLog) -> Processor:
    """Returns ``gpu0``."""
    return Processor("gpu0", hw.compute("gpu0"), jax.devices()[0], pace, log)
