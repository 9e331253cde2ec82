"""The host of a plan: JAX's CPU device."""

from __future__ import annotations

import jax

from cost_models.hardware import HardwareSpec
from runtime.devices.processor import Processor
from runtime.errors import SessionError
from runtime.event_log import EventLog
from runtime.pace import Pace


def make_host(hw: HardwareSpec, pace: Pace, log: EventLog) -> Processor:
    """Returns ``host``.

    Raises:
        SessionError: JAX was told to leave the CPU out.
    """
    try:
        device = jax.devices("cpu")[0]
    except RuntimeError as error:
        raise SessionError(
            "JAX has no CPU device, which plans call host; add cpu to the environment variable JAX_PLATFORMS, or unset it"
        ) from error
    return Processor("host", hw.host, device, pace, log)
