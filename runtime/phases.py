"""The phases of a plan, compiled and ready to run on a system."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jax import numpy as jnp

from partitioner.plan.plan import Plan
from runtime.decode import Decode
from runtime.errors import SessionError
from runtime.fused_prefill import FusedPrefill, keeps_all_caches
from runtime.fused_step import FusedStep
from runtime.index_inputs import Cursors
from runtime.micro_batches import MicroBatches
from runtime.prefill import Prefill, SteppedPrefill
from runtime.program import Program
from runtime.step_runner import StepRunner
from runtime.stepped_decode import SteppedDecode
from runtime.streams import Executor
from runtime.system import System
from runtime.weight_packs import packed_phase

Progress = Callable[[str, int, int], None]


class Phases:
    """Compiles a plan's phases.

    Attributes:
        plan: What is run.
        system: What it runs on.
        executor: Orders the steps.
        progress: Told of stages: name, done, total.
        micro_batches: How the batch is cut.
        processor: Makes the decode's logits.
        prefill: Runs the prefill; None where prompts go through decode steps.
        decode: Runs decode steps.
        prefill_counters: Follows the model's own counters through the prefill; None where there is none.
        first_counters: The counters before any token.
        feed: ``where(given, token, made)`` per row, on the processor.

    Raises:
        SessionError: The plan's prefill does not fit its batch, or the model's own counters cannot be followed.
    """

    def __init__(self, plan: Plan, system: System, executor: Executor, progress: Progress) -> None:
        self.plan = plan
        self.system = system
        self.executor = executor
        self.progress = progress
        self.micro_batches = MicroBatches.of(plan)
        cpu = system.processors["host"].device
        decode = Program(plan, packed_phase(plan.decode, system.packs))
        self.processor = system.processors[decode.logits_device]
        counters = Cursors(plan.decode.graph, cpu)
        self.first_counters = counters.initial(plan.decode.graph.phase)
        self.prefill: Prefill | None = None
        self.prefill_counters: Cursors | None = None
        if plan.prefill is not None:
            if self.micro_batches.num_rows % plan.prefill.rows:
                kind = "batch" if self.micro_batches.count == 1 else "micro-batch"
                raise SessionError(
                    f"a prefill of {plan.prefill.rows} rows does not divide the {kind} of "
                    f"{self.micro_batches.num_rows}; partition again"
                )
            prefill = packed_phase(plan.prefill, system.packs)
            program = Program(plan, prefill)
            fits = keeps_all_caches(program, system)
            self.prefill = (
                FusedPrefill(program, system)
                if fits
                else SteppedPrefill(StepRunner(program, system), executor)
            )
            self.prefill_counters = Cursors(plan.prefill.graph, cpu)
            self.prefill.compile(lambda done, total: progress("compiling prefill", done, total))
        self.decode: Decode
        if decode.runs_alone() and self.micro_batches.count == 1:
            fused = FusedStep(decode, system)
            fused.compile(lambda done, total: progress("compiling decode", done, total))
            self.decode = fused
        else:
            runner = StepRunner(decode, system)
            runner.compile(lambda done, total: progress("compiling decode", done, total))
            self.decode = SteppedDecode(runner, executor, counters)
        self.feed = jax.jit(jnp.where)
        row = self.processor.place(np.zeros(self.micro_batches.num_rows, np.int32))
        self.feed(self.processor.place(np.zeros(self.micro_batches.num_rows, np.bool_)), row, row)

    def prepare_sampling(self) -> None:
        """Compiles what draws tokens by settings of their rows, the first time."""
        if self.prefill is not None:
            self.prefill.prepare_sampling()
        self.decode.prepare_sampling()
