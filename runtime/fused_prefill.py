"""A prefill as one executable, for plans in which one processor does everything and keeps all caches.

What prompts leave in the caches is written into them where it is made, so a real GPU takes no longer than plain ``jax.jit``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from partitioner.plan.steps import Run, Step
from runtime.cache_updates import is_block, put_block, put_rows, rows_or_beyond
from runtime.errors import step_error
from runtime.executables import compile_for, remembered, row_of, shape_on
from runtime.frame import Frame
from runtime.fused_phase import FusedPhase, shapes_on
from runtime.index_inputs import index_values
from runtime.jax_device import sharding_on
from runtime.program import Program, describe_aval
from runtime.sampling_settings import RowSettings
from runtime.system import System
from runtime.token_choice import TokenChoice


class FusedPrefill:
    """Runs slices of a prefill on one processor.

    Args:
        program: The prefill; :func:`keeps_all_caches` must hold.
        system: Devices, links, caches and clock.
    """

    def __init__(self, program: Program, system: System) -> None:
        self._program = program
        self._system = system
        self._processor = system.processors[program.logits_device]
        self._phase = FusedPhase(program)
        self._choice = TokenChoice(program, system)
        self._names = [i.name for i in self._phase.states]
        self._homes = [system.states.described(name) for name in self._names]
        self._num_rows = program.plan.decode.rows
        self._fixed: list[Any] = []
        self._block: Callable[..., Any] | None = None
        self._scattered: Callable[..., Any] | None = None

    @property
    def program(self) -> Program:
        """The phase."""
        return self._program

    def compile(self, progress: Callable[[int, int], None]) -> None:
        """Compiles a run over rows that lie one after the other, and gathers what every run reads."""
        progress(0, 1)
        device = self._processor.device
        first = jax.ShapeDtypeStruct((), np.int32, sharding=sharding_on(device))
        self._block = self._compile(put_block, first)
        self._choice.compile()
        self._fixed = self._phase.fixed(self._processor)
        progress(1, 1)

    def prepare_sampling(self) -> None:
        """Compiles a run over any rows; see :meth:`runtime.prefill.Prefill.prepare_sampling`."""
        if self._scattered is None:
            rows = row_of(self._program.phase.rows, np.int32, self._processor.device)
            self._scattered = self._compile(put_rows, rows)
        self._choice.prepare_sampling()

    def frame(
        self,
        tokens: np.ndarray,
        micro_batch: int,
        slots: np.ndarray,
        after: np.ndarray,
        cursors: Mapping[str, Any],
    ) -> Frame:
        """Returns a run; see :meth:`runtime.prefill.Prefill.frame`."""
        before = np.zeros_like(after)
        told = index_values(self._program.phase.graph.phase, tokens, before, after, cursors)
        return Frame(self._program, micro_batch, slots, before, after, {}, told)

    def run(self, frames: Sequence[Frame], begin_s: float) -> float:
        """Runs slices one after the other; see :meth:`runtime.prefill.Prefill.run`."""
        end_s = begin_s
        for frame in frames:
            end_s = self._run(frame, end_s)
        self._system.pace.clock.sleep_until(end_s)
        return end_s

    def sample(self, frame: Frame, settings: RowSettings | None = None) -> jax.Array:
        """Returns the first new tokens; see :meth:`runtime.prefill.Prefill.sample`."""
        return self._choice.choose(frame, settings)

    def _run(self, frame: Frame, ready_s: float) -> float:
        run, rows = self._block, np.int32(frame.slots[0])
        if not is_block(frame.slots):
            run, rows = self._scattered, rows_or_beyond(frame.slots, self._num_rows)
        assert run is not None
        states = self._system.states
        token, *counters = (
            next(i.var for i in self._program.phase.graph.phase.inputs if i.role == "token"),
            *(i.var for i in self._phase.cursors),
        )
        given = self._processor.place(
            [[frame.told[v] for v in counters], frame.told[token], frame.after, rows]
        )
        try:
            logits, caches = run(
                self._fixed, [states.read(frame.micro_batch, n) for n in self._names], *given
            )
        except Exception as error:
            raise step_error(self._phase.label, "prefill", error) from error
        for name, cache in zip(self._names, caches, strict=True):
            states.replace(frame.micro_batch, name, cache)
        frame.put(self._processor.name, self._program.logits, logits)
        return self._processor.account(logits, self._program.demands, ready_s, self._phase.label, "prefill")

    def _compile(self, put: Callable[..., jax.Array], rows: jax.ShapeDtypeStruct) -> Callable[..., Any]:
        """Returns a run compiled for rows given in some way; sessions share it."""
        device, phase, states = self._processor.device, self._program.phase, self._system.states
        axes = tuple(states.rows_axis(i.name, i.var, phase.rows) for i in self._phase.states)
        run = _Function(self._phase, axes, put)
        token = next(i.var for i in phase.graph.phase.inputs if i.role == "token")
        after = row_of(phase.rows, np.int32, device)
        kept_as = self._processor.axes
        homes = [shape_on(v, device, kept_as.get(n)) for n, v in zip(self._names, self._homes, strict=True)]
        lie = sharding_on(device), [self._processor.sharding_of(n) for n in self._names]
        shapes = [
            self._phase.fixed_shapes(self._processor), homes, shapes_on(self._processor, self._phase.cursors),
            shape_on(token, device), after, rows,
        ]  # fmt: skip
        key = (
            "prefill", device, put.__name__, self._phase.signature(), axes, tuple(sorted(kept_as.items())),
            tuple((s.shape, str(s.dtype)) for s in homes),
        )  # fmt: skip
        return remembered(key, lambda: compile_for(device, run, shapes, (1,), lie))


@dataclass(frozen=True, eq=False)
class _Function:
    """What is compiled; holds no values, since it outlives the session.

    Attributes:
        phase: The prefill.
        axes: Axis of the rows in each state.
        put: Puts what is made of some rows into a whole cache: :func:`put_block` or :func:`put_rows`.
    """

    phase: FusedPhase
    axes: tuple[int | None, ...]
    put: Callable[..., jax.Array]

    def __call__(
        self, fixed: list[Any], caches: list[Any], counters: list[Any], tokens: Any, after: Any, rows: Any
    ) -> tuple[Any, list[Any]]:
        """Returns the logits, and the caches with the rows that ``put`` is told."""
        empty = [jnp.zeros(*describe_aval(i.var)) for i in self.phase.states]
        logits, fresh, _ = self.phase.evaluate(fixed, empty, counters, (tokens, after * 0, after))
        given = zip(caches, fresh, self.axes, strict=True)
        return logits, [self.put(cache, made, rows, axis) for cache, made, axis in given]


def keeps_all_caches(program: Program, system: System) -> bool:
    """Tells whether the one processor that runs a prefill also keeps every cache whole, and as the prefill makes it."""
    device, steps = program.logits_device, program.phase.steps
    if any(_crosses(step) for step in steps) or {s.device for s in program.phase.segments} != {device}:
        return False
    phase = program.phase.graph.phase
    names = {described.name for described in (*phase.inputs, *phase.outputs) if described.role == "cache"}
    return all(system.states.home.get(name) == device for name in names)


def _crosses(step: Step) -> bool:
    """Tells whether a step is more than a run on its device, or a store of a cache where it was made."""
    if isinstance(step, Run):
        return step.share is not None
    return step.kind != "store_cache" or step.src != step.dst
