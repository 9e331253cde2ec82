"""Decodes of small models whose drives are emulated as fast as this machine can, and where their time goes.

All of it is measured as sessions run it: all drives at once, behind their queues, between executables of the default device.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from flax import nnx

from cost_models import DriveSpec, HardwareSpec
from models import Transformer, TransformerConfig
from partitioner import Plan, Workload, partition
from partitioner.plan.timeline import Event
from runtime.cli.calibration.drive_effort import DriveEffort, DriveSession
from runtime.cli.calibration.kernel_effort import KernelEffort, LayerShape
from runtime.cli.calibration.layer_chains import VOCAB_SIZE, config_of
from runtime.session import Session

AT_ONCE = 1e18
"""A rate, in B/s or FLOP/s, at which nothing takes time."""
_NO_TIME_S = 1e-12
_SEAM_S = 1e-6


@dataclass(frozen=True)
class DriveSample:
    """Holds medians over the attentions of a decode.

    Attributes:
        label: What was decoded.
        num_bytes: Bytes of K and V of one attention, on all drives together.
        attend_s: Seconds from the begin of the last drive's command to the end of all of them.
        from_share_s: Seconds from there until the default device is given what reads the output.
        to_share_s: Seconds from there to the begin of the last drive's next command, less what the device is predicted to take.
        step_s: Seconds from a step's last attention to the next step's first, less the same and the two ways.
    """

    label: str
    num_bytes: float
    attend_s: float
    from_share_s: float
    to_share_s: float
    step_s: float


def at_once(hw: HardwareSpec) -> HardwareSpec:
    """Returns a system whose drives and links take no time, so that a run shows what emulating them takes."""
    return dataclasses.replace(
        hw,
        drives=tuple(map(_drive_at_once, hw.drives)),
        links=tuple(dataclasses.replace(link, bytes_per_s=AT_ONCE, latency_s=0.0) for link in hw.links),
        emulation=None,
    )


def _drive_at_once(spec: DriveSpec) -> DriveSpec:
    assert spec.engine is not None
    flash = dataclasses.replace(
        spec.flash,
        channel_bytes_per_s=AT_ONCE,
        t_read_s=_NO_TIME_S,
        t_program_s=_NO_TIME_S,
        t_erase_s=_NO_TIME_S,
    )
    engine = dataclasses.replace(spec.engine, flops=AT_ONCE, bytes_per_s=AT_ONCE, setup_s=0.0)
    return dataclasses.replace(
        spec, flash=flash, engine=engine, dram_bytes_per_s=AT_ONCE, command_s=0.0, faults=None
    )


def measure_drives(
    hw: HardwareSpec, sessions: Sequence[DriveSession], effort: DriveEffort, tell: Callable[[], None]
) -> tuple[DriveSample, ...]:
    """Runs decodes on this machine.

    Args:
        hw: This machine with the drives that it is to emulate.
        sessions: What to decode.
        effort: For how long.
        tell: Called after each.
    """
    found: list[DriveSample] = []
    for session in sessions:
        found.append(_measure(at_once(hw), session, effort))
        tell()
    return tuple(found)


def _measure(hw: HardwareSpec, session: DriveSession, effort: DriveEffort) -> DriveSample:
    model = Transformer(_config(session, effort), rngs=nnx.Rngs(0))
    workload = Workload(session.rows, session.prompt_len, effort.new_tokens)
    plan = partition(model, hw, workload, "instinfer")
    prompts = np.random.default_rng(0).integers(1, VOCAB_SIZE, (session.rows, session.prompt_len)).tolist()
    runs: list[tuple[Event, ...]] = []
    with Session(plan, model, clock="wall") as running:
        for _ in range(effort.repeats + 1):
            result = running.generate(prompts, max_new_tokens=effort.new_tokens)
            runs.append(tuple(e for e in result.timeline.events if e.phase == "decode"))
    bytes_per_token = (
        2 * model.config.num_kv_heads * session.head_size * np.dtype(model.config.kv_dtype).itemsize
    )
    num_bytes = float(session.rows * plan.middle_context * bytes_per_token)
    return sample_of(plan, str(session), num_bytes, effort.num_layers, runs[1:])


def sample_of(
    plan: Plan, label: str, num_bytes: float, num_layers: int, runs: Sequence[Sequence[Event]]
) -> DriveSample:
    """Returns what the events of decodes say.

    Args:
        plan: What was run.
        label: What to call it.
        num_bytes: Bytes of K and V of one attention.
        num_layers: Attentions of a step.
        runs: Events of decodes.
    """
    first_s, *middle_s, last_s = (
        e.end_s - e.start_s for e in plan.predicted_timeline("decode").events if e.resource == "gpu0"
    )
    attend: list[float] = []
    back: list[float] = []
    there: list[float] = []
    between: list[float] = []
    for events in runs:
        begins, ends = _attentions(events)
        given = sorted(e.start_s for e in events if e.resource == "gpu0")
        attend += [end - begin for begin, end in zip(begins, ends, strict=True)]
        for number, (end_s, begin_s) in enumerate(zip(ends, begins[1:], strict=False), 1):
            given_s = given[bisect_left(given, end_s - _SEAM_S)]
            if number % num_layers:
                back.append(given_s - end_s)
                there.append(begin_s - given_s - median(middle_s))
            else:
                between.append(begin_s - end_s - first_s - last_s)
    from_share_s, to_share_s = max(0.0, median(back)), max(0.0, median(there))
    step_s = max(0.0, median(between) - from_share_s - to_share_s)
    return DriveSample(label, num_bytes, median(attend), from_share_s, to_share_s, step_s)


def _attentions(events: Sequence[Event]) -> tuple[list[float], list[float]]:
    """Returns when the last drive began, and when the last one ended, for each attention in turn."""
    by_drive: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda e: e.start_s):
        if event.resource.startswith("csd") and "." not in event.resource:
            by_drive.setdefault(event.resource, []).append(event)
    together = list(zip(*by_drive.values(), strict=True))
    return [max(e.start_s for e in one) for one in together], [max(e.end_s for e in one) for one in together]


def _config(session: DriveSession, effort: DriveEffort) -> TransformerConfig:
    """Returns a model whose layers are as OPT's."""
    hidden = session.num_heads * session.head_size
    shape = LayerShape(session.num_heads, session.num_heads, session.head_size, 4 * hidden, gated=False)
    tokens = session.prompt_len + effort.new_tokens
    return config_of(shape, tokens, KernelEffort(num_layers=effort.num_layers))
