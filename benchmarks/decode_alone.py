"""Decode steps of a plan without a prefill: the executable that a session runs, on caches that were filled at random."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from partitioner.jaxpr import dtype_of, shape_of
from partitioner.plan.bind import bind_model
from partitioner.plan.plan import Plan
from runtime.decode import DecodeStart
from runtime.drive_pool import DrivePool
from runtime.event_log import EventLog
from runtime.fused_step import FusedStep
from runtime.index_inputs import Cursors
from runtime.pace import WallPace
from runtime.program import Program
from runtime.system import System
from runtime.weight_packs import packed_phase

Placed = Mapping[str, Mapping[str, jax.Array]]


class DecodeAlone:
    """The decode of a plan in which the GPU does everything, brought up as a session brings it up.

    Args:
        plan: Of policy ``gpu-only``.
        model: Its model, with values.
        placed: Parameters that lie on devices already, by device and name.

    Attributes:
        placed: Those that do now.
    """

    def __init__(self, plan: Plan, model: Any, placed: Placed) -> None:
        pace, log = WallPace(), EventLog()
        self._plan = plan
        self._pool = DrivePool(plan.hw, pace, log, None, 30.0)
        self._system = System(plan, pace, log, self._pool)
        self._system.load(plan, bind_model(plan, model), lambda done, total: None, placed)
        self.placed: Placed = self._system.placed
        program = Program(plan, packed_phase(plan.decode, self._system.packs))
        self._step = FusedStep(program, self._system)
        self._step.compile(lambda done, total: None)
        self._processor = self._system.processors[program.logits_device]
        host = self._system.processors["host"].device
        self._counters = Cursors(plan.decode.graph, host).initial(plan.decode.graph.phase)
        self._fill_caches()

    def __enter__(self) -> DecodeAlone:
        return self

    def __exit__(self, *raised: object) -> None:
        self._pool.close()

    def seconds(self, num_steps: int) -> float:
        """Returns how long steps take that begin behind a prompt of the workload's length and follow one another unwatched."""
        rows, length = self._plan.decode.rows, self._plan.workload.prompt_len
        made: list[jax.Array] = []

        def take(step: int, number: int, tokens: jax.Array, end_s: float) -> bool:
            made[:] = [tokens]
            return False

        tokens = self._processor.place(np.ones(rows, np.int32))
        lengths = np.full(rows, length, np.int32)
        start = DecodeStart([tokens], [lengths], [self._counters], num_steps, 0.0)
        begun_s = time.perf_counter()
        self._step.run(start, lambda step, number, tokens: tokens, take)
        jax.block_until_ready(made)
        return time.perf_counter() - begun_s

    def _fill_caches(self) -> None:
        """Fills every cache with normal random numbers, one after the other."""
        device = self._processor.device
        key = jax.device_put(jax.random.key(0), device)
        draw = jax.jit(jax.random.normal, static_argnums=(1, 2))
        for given in self._plan.decode.graph.phase.inputs:
            if given.role == "cache":
                key, own = jax.random.split(key)
                values = draw(own, shape_of(given.var), dtype_of(given.var).name)
                self._system.states.replace(0, given.name, jax.block_until_ready(values))


def steady_step_s(decode: DecodeAlone, few: int, many: int, repeats: int) -> float:
    """Returns the seconds of one of many steps: the least of ``repeats`` differences between many steps and few.

    What begins and ends a loop cancels out; the first loop of each length does not count.
    """
    decode.seconds(few)
    decode.seconds(many)
    return min((decode.seconds(many) - decode.seconds(few)) / (many - few) for _ in range(repeats))
