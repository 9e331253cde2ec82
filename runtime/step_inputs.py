"""Makes what a decode step is told on the processor that chose its tokens, so that nothing is copied there between steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from partitioner.jaxpr import Var
from runtime.devices.processor import Processor
from runtime.executables import compile_for, row_of
from runtime.index_inputs import index_values
from runtime.program import Program


@dataclass(frozen=True, eq=False)
class Told:
    """Holds what a step is told, on one processor.

    Attributes:
        index: The index inputs that segments read.
        before: int32[rows], tokens of each row that are cached already.
    """

    index: Mapping[Var, jax.Array]
    before: jax.Array


class StepInputs:
    """Makes index inputs of tokens and lengths in one executable.

    Lengths stay on the processor from step to step, as long as every row gains a token.

    Args:
        program: A decode that :meth:`serves` takes.
        processor: Makes the logits.
    """

    def __init__(self, program: Program, processor: Processor) -> None:
        self._program, self._processor = program, processor
        self._wanted = program.index_vars[processor.name]
        self._run: Callable[..., tuple[list[jax.Array], jax.Array]] | None = None
        self._lengths: dict[int, tuple[np.ndarray, jax.Array]] = {}

    @staticmethod
    def serves(program: Program) -> bool:
        """Tells whether one processor alone is told of steps, and the model counts nothing itself."""
        phase = program.phase.graph.phase
        counts = any(i.role == "cursor" for i in phase.inputs)
        return program.name == "decode" and phase.chunk == 1 and not counts and len(program.index_vars) == 1

    def compile(self) -> None:
        """Compiles the executable."""
        phase, device = self._program.phase.graph.phase, self._processor.device

        def tell(tokens: jax.Array, before: jax.Array) -> tuple[list[jax.Array], jax.Array]:
            after = before + 1
            values = index_values(phase, tokens[:, None], before, after, {})
            return [values[v] for v in self._wanted], after

        row = row_of(self._program.phase.rows, np.int32, device)
        self._run = compile_for(device, tell, [row, row], ())

    def tell(self, micro_batch: int, tokens: Any, before: np.ndarray) -> Told:
        """Returns what a step is told.

        Args:
            micro_batch: Whose rows they are.
            tokens: int32[rows], on the processor.
            before: int32[rows], tokens cached already.
        """
        assert self._run is not None
        known = self._lengths.get(micro_batch)
        lengths = known[1] if known and np.array_equal(known[0], before) else self._processor.place(before)
        values, after = self._run(tokens, lengths)
        self._lengths[micro_batch] = before + 1, after
        return Told(dict(zip(self._wanted, values, strict=True)), lengths)
