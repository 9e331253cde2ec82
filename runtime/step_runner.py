"""Performs single steps of a phase: values are computed or moved, and the time they take is worked out by mechanism."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from partitioner.errors import PlanError
from partitioner.jaxpr import Var
from partitioner.plan.steps import Move, Run, Step
from runtime.attention_parts import new_part, query_part
from runtime.cache_moves import CacheMoves
from runtime.clock import Clock
from runtime.crossings import Crossings
from runtime.drive_attention import attend_on_drive
from runtime.frame import Frame
from runtime.index_inputs import index_values
from runtime.operand_sends import OperandSends
from runtime.partial_attention import PartialAttention
from runtime.program import PartOf, Program
from runtime.sampling_settings import RowSettings
from runtime.segment_executables import SegmentExecutables
from runtime.segment_inputs import SegmentInputs
from runtime.share_runner import ShareRunner, lengths_on
from runtime.step_inputs import StepInputs
from runtime.system import System
from runtime.token_choice import TokenChoice


class StepRunner:
    """Performs the steps of one phase on a system.

    Args:
        program: The phase.
        system: Devices, links, caches and clock.
    """

    def __init__(self, program: Program, system: System) -> None:
        self.program = program
        self.system = system
        self._crossings = Crossings(program, system)
        self._shares = ShareRunner(program, system)
        self._caches = CacheMoves(program, system, self._shares, self._crossings)
        self._operands = OperandSends(program, system)
        self._segments = SegmentExecutables(program, system, self._shares.merges, self._operands)
        self._choice = TokenChoice(program, system)
        own = StepInputs.serves(program)
        self._inputs = StepInputs(program, system.processors[program.logits_device]) if own else None
        self._as_chunk = jax.jit(lambda tokens: tokens[:, None])
        self._read = SegmentInputs(program, system)
        self._stored_by_move = {n for s in program.phase.steps if isinstance(s, Move) for n in s.names}

    @property
    def clock(self) -> Clock:
        """Returns the session's clock."""
        return self.system.pace.clock

    def compile(self, progress: Callable[[int, int], None]) -> None:
        """Compiles every class of segment, and the choice of the next token."""
        self._choice.compile()
        if self._inputs is not None:
            self._inputs.compile()
        elif self.program.name == "decode":
            place = self.system.processors[self.program.logits_device].place
            self._as_chunk(place(np.zeros(self.program.phase.rows, np.int32)))
        self._shares.compile()
        self._segments.compile(progress)
        self._warm_up()

    def _warm_up(self) -> None:
        """Runs what is compiled on first use, on empty caches."""
        self.system.states.clear()
        self.system.share_caches.clear()
        self._read.warm_up()
        self._caches.warm_up()

    def frame(
        self,
        tokens: Any,
        micro_batch: int,
        slots: np.ndarray,
        before: np.ndarray,
        after: np.ndarray,
        cursors: Mapping[str, Any],
    ) -> Frame:
        """Returns a run of the phase with its index inputs in place.

        Args:
            tokens: int32[rows, chunk].
            micro_batch: Whose rows they are.
            slots: int32[rows], row of the micro-batch that each row is, or ``NO_SLOT``.
            before: int32[rows], tokens cached already.
            after: int32[rows], tokens cached once the run is done.
            cursors: The model's own counters.
        """
        values = index_values(self.program.phase.graph.phase, tokens, before, after, cursors)
        index: dict[str, dict[Var, Any]] = {}
        for name, wanted in self.program.index_vars.items():
            placed = self.system.processors[name].place([values[v] for v in wanted])
            index[name] = dict(zip(wanted, placed, strict=True))
        return Frame(self.program, micro_batch, slots, before, after, index, values)

    def next_frame(
        self,
        tokens: jax.Array,
        micro_batch: int,
        slots: np.ndarray,
        before: np.ndarray,
        cursors: Mapping[str, Any],
    ) -> Frame:
        """Returns a run of a decode in which each row takes in one token.

        Args:
            tokens: int32[rows], on the processor that makes the logits.
            micro_batch: Whose rows they are.
            slots: int32[rows], row of the micro-batch that each row is, or ``NO_SLOT``.
            before: int32[rows], tokens cached already.
            cursors: The model's own counters.
        """
        if self._inputs is None:
            return self.frame(self._as_chunk(tokens), micro_batch, slots, before, before + 1, cursors)
        told, name = self._inputs.tell(micro_batch, tokens, before), self.program.logits_device
        frame = Frame(self.program, micro_batch, slots, before, before + 1, {name: told.index}, told.index)
        frame.once(lengths_on(name), lambda: told.before)
        return frame

    def sample(self, frame: Frame, settings: RowSettings | None = None) -> jax.Array:
        """Returns the next token of each row; see :meth:`runtime.token_choice.TokenChoice.choose`."""
        return self._choice.choose(frame, settings)

    def prepare_sampling(self) -> None:
        """Compiles what draws tokens by settings of their rows, the first time."""
        self._choice.prepare_sampling()

    def num_parts(self, step: Step) -> int:
        """Returns in how many parts a step is performed; streams to a real device, whose link is real, are not cut."""
        processor = self.system.processors.get(step.dst) if isinstance(step, Move) else None
        return step.num_parts if processor is None or processor.throttled else 1

    def perform(self, frame: Frame, step: Step, ready_s: float, part: int = 0) -> float:
        """Performs a part of a step whose predecessors have ended by ``ready_s``, and returns when that ends."""
        match step:
            case Run(share=None):
                return self._run(frame, step, ready_s)
            case Run(share=share):
                assert share is not None
                if step.device in self.system.drives:
                    return attend_on_drive(self.program, self.system, frame, step, share, ready_s)
                return self._shares.attend(frame, step, share, ready_s)
            case Move(kind="hand_over") if self.program.carries_part(step):
                return self._take_part(frame, step, ready_s)
            case Move(kind="hand_over") if self.program.feeds_share(step):
                return self._hand_to_share(frame, step, ready_s)
            case Move(kind="hand_over"):
                return self._hand_over(frame, step, ready_s)
            case Move(kind="stream_weights"):
                return self._stream_weights(frame, step, ready_s, part)
            case Move(kind="stream_cache"):
                return self._caches.stream(frame, step, ready_s)
            case Move(kind="append_cache"):
                return self._caches.append(frame, step, ready_s)
            case Move(kind="store_cache"):
                return self._caches.store(frame, step, ready_s)
            case Move(kind="page_out"):
                return self._caches.page_out(frame, step, ready_s)
            case _:
                raise PlanError(f"the plan has a move of unknown kind {step.kind!r}")

    def _run(self, frame: Frame, step: Run, ready_s: float) -> float:
        segment = self.program.segment(step)
        inputs = [self._read.find(frame, step.device, v) for v in segment.inputs]
        outputs, under_way = self._segments.launch(segment, inputs)
        del inputs
        made = dict(zip(segment.outputs, outputs, strict=True))
        self._operands.begin(frame, segment, made, under_way)
        for var, value in made.items():
            self._keep(frame, step.device, var, value)
        demand = self.program.demands[segment.index]
        processor = self.system.processors[step.device]
        return processor.account(outputs, [demand], ready_s, segment.name, self.program.name)

    def _keep(self, frame: Frame, device: str, var: Var, value: jax.Array) -> None:
        described = self.program.phase.graph.output_of.get(var)
        states = self.system.states
        if described is not None and described.role == "cache":
            home = states.home.get(described.name)
            if self.program.name == "decode" and home == device:
                states.replace(frame.micro_batch, described.name, value)
            elif self.program.name == "prefill" and described.name not in self._stored_by_move:
                if home is None:
                    raise PlanError(
                        f"the prefill makes the cache {described.name!r}, which no processor keeps whole, and no move "
                        "takes it home; partition again"
                    )
                states.store(frame.micro_batch, described.name, var, value, frame.slots)
        frame.put(device, var, value)

    def _hand_over(self, frame: Frame, step: Move, ready_s: float) -> float:
        values = [frame.read(step.src, v) for v in step.values]
        ready_s = self.system.processors[step.src].wait_for(values, ready_s)
        transfer = self._crossings.begin(frame, step, ready_s)
        arrived = self.system.processors[step.dst].place(values)
        for var, value in zip(step.values, arrived, strict=True):
            frame.put(step.dst, var, value)
        return self._crossings.end(transfer, arrived)

    def _hand_to_share(self, frame: Frame, step: Move, ready_s: float) -> float:
        """Hands what an attention reads to a drive, its part alone, or to the host."""
        attention, share = self._crossings.shared(step)
        values = [frame.read(step.src, v) for v in step.values]
        arrays, ready_s = self._operands.take(frame, step, values, ready_s)
        transfer = self._crossings.begin(frame, step, ready_s)
        for var, value in zip(step.values, arrays, strict=True):
            cut = query_part if var is attention.query else new_part
            is_whole = step.dst in self.system.processors
            frame.put(step.dst, var, value if is_whole else cut(value, attention, share, frame.num_rows))
        return self._crossings.end(transfer, ())

    def _take_part(self, frame: Frame, step: Move, ready_s: float) -> float:
        attention, share = self._crossings.shared(step)
        part = frame.read(step.src, PartOf(attention.output))
        if step.src in self.system.processors:
            ready_s = self.system.processors[step.src].wait_for(part, ready_s)
        transfer = self._crossings.begin(frame, step, ready_s)
        part = part if isinstance(part, PartialAttention) else np.asarray(part)
        arrived = self._shares.merges.arrive(frame, step.dst, step.attention or "", share, part)
        waits = self.system.processors[step.dst].throttled
        return self._crossings.end(
            transfer, arrived if waits else ()
        )  # else what reads it waits on its device

    def _stream_weights(self, frame: Frame, step: Move, ready_s: float, part: int) -> float:
        """Copies the weights with the first part, and lets the time of all parts pass."""
        transfer = self._crossings.begin(frame, step, ready_s, self.num_parts(step))
        if part == 0:
            home = self.system.processors[step.src]
            arrived = self.system.processors[step.dst].place_named({n: home.weights[n] for n in step.names})
            for name, value in arrived.items():
                frame.put(step.dst, name, value)
            self.system.processors[step.dst].arrive(arrived)
        return transfer.free_s if part + 1 < self.num_parts(step) else self._crossings.end(transfer, ())
