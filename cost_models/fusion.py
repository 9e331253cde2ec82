"""Bytes that a group of equations moves when a compiler fuses it, and the kernels it takes.

The model of fusion, which is that of XLA without its details:

- Views, slices, element-wise primitives and reductions form **kernels**. A kernel reads every value that is
  in memory once, in the dtype and shape it is stored in, and writes every result that must be in memory once.
- A value **must be in memory** if it enters or leaves the group, is the result of a contraction, sort, scan,
  gather or large reduction, is an operand of one of these, or is read by a later kernel than the one that
  makes it. A small reduction (softmax, norm) stays inside its kernel.
- An operand of a contraction that is a mere view of a stored value, such as a weight converted from its
  stored dtype or a cache broadcast over query heads, is read once as it is stored.
- A value that would be kept for a later kernel is made again there instead if that reads fewer bytes, as for
  masks.
- Updates in place (`dynamic_update_slice`, `scatter`) write the update alone; slices and gathers read what
  they return alone.
"""

from collections.abc import Collection, Iterable, Sequence

from cost_models.equation_flops import equation_flops
from cost_models.jaxpr_protocol import Equation, Value, is_literal, itemsize, num_bytes, num_elements
from cost_models.matrix_vector import is_matrix_of_vector, matrices_of_vectors
from cost_models.primitive_table import (
    COMBINING_UPDATES,
    IN_PLACE_UPDATE_OPERAND,
    SAME_BYTES_VIEWS,
    SLICES,
    VIEWS,
    primitive_class,
)
from cost_models.work import Work

LARGE_REDUCTION = 1 / 16
"""A reduction whose result has more than this share of its operand's elements is written to memory. A
compiler keeps the results of a softmax or norm on chip (hundreds to one), but not sums of a few parts."""


def work_of(
    equations: Sequence[Equation],
    inputs: Iterable[Value],
    outputs: Iterable[Value],
    fused: Collection[Value] = (),
) -> Work:
    """Returns the work of a group of flat equations that run fused on one device.

    Args:
        equations: Equations in an order in which they can run, without call-like ones.
        inputs: Variables that enter the group, in memory. Variables that no equation makes are taken as such.
        outputs: Variables that leave the group, to memory.
        fused: Those outputs for which no kernel is counted, since their readers' kernels make them
            (see `cost_models.fused_outputs`).

    Returns:
        The FLOP of all equations, the bytes that the group reads and writes as a whole, and its kernels.

    Raises:
        WorkError: A call-like equation.
    """
    flops = sum(equation_flops(eqn) for eqn in equations)
    leaving, entering = list(outputs), list(inputs)
    kept = [value for value in leaving if value not in fused] if fused else leaving
    traffic = _Traffic(equations, entering, leaving)
    own = traffic if len(kept) == len(leaving) else _Traffic(equations, entering, kept)
    return Work(
        flops=float(flops),
        bytes_read=float(traffic.bytes_read()),
        bytes_written=float(traffic.bytes_written()),
        num_kernels=float(own.num_kernels()),
        num_matvecs=float(sum(map(is_matrix_of_vector, equations))),
        batched_matvec_bytes=float(traffic.batched_matvec_bytes()),
    )


class _Traffic:
    """The analysis of one group: what is in memory, which equations share a kernel, what each reads."""

    def __init__(
        self, equations: Sequence[Equation], inputs: Iterable[Value], outputs: Iterable[Value]
    ) -> None:
        self._equations = equations
        self._maker = {out: index for index, eqn in enumerate(equations) for out in eqn.outvars}
        for value in inputs:
            if not is_literal(value):
                self._maker.pop(value, None)
        self._class = [primitive_class(eqn.primitive.name) for eqn in equations]
        self._level = self._levels()
        self._stored: set[Value] = set()
        self._kernel = list(range(len(equations)))
        self._store_results([value for value in outputs if not is_literal(value)])
        self._store_operands()
        self._store_across_levels()
        self._join_kernels()

    def bytes_read(self) -> float:
        """Adds up what each kernel reads from memory."""
        return self._sum_of_reads(
            (self._find(index), reads)
            for index, eqn in enumerate(self._equations)
            for reads in self._reads(index, eqn)
        )

    def batched_matvec_bytes(self) -> float:
        """Adds up what is read of batches of matrices that each meet one vector."""
        return self._sum_of_reads(
            (index, reads)
            for index, eqn in enumerate(self._equations)
            if (matrices := matrices_of_vectors(eqn)) is not None
            for reads in self._leaves(matrices, index).items()
        )

    def num_kernels(self) -> int:
        """Counts the kernels, each of which writes something to memory."""
        return len({self._find(self._maker[value]) for value in self._stored})

    def bytes_written(self) -> float:
        """Adds up what is written to memory: stored results whole, updates in place by their own size."""
        total = 0.0
        for value in self._stored:
            eqn = self._equations[self._maker[value]]
            update = IN_PLACE_UPDATE_OPERAND.get(eqn.primitive.name)
            total += num_bytes(value) if update is None else num_bytes(eqn.invars[update])
        return total

    def _sum_of_reads(self, reads: Iterable[tuple[int, tuple[Value, float]]]) -> float:
        """Adds up reads of values by kernel; what a kernel reads twice comes from memory once."""
        total: dict[tuple[int, Value], float] = {}
        for kernel, (value, size) in reads:
            known = total.get((kernel, value), 0.0)
            total[kernel, value] = min(known + size, num_bytes(value))
        return sum(total.values())

    def _levels(self) -> list[int]:
        """Numbers equations so that whatever waits for a value from memory comes at a higher level."""
        levels: list[int] = []
        ready: dict[Value, int] = {}
        for index, eqn in enumerate(self._equations):
            level = max((ready.get(value, 0) for value in _variables(eqn)), default=0)
            levels.append(level)
            ready.update(dict.fromkeys(eqn.outvars, level + self._ends_kernel(index)))
        return levels

    def _ends_kernel(self, index: int) -> bool:
        """Tells whether the result of an equation can be read from memory alone."""
        if self._class[index] == "REDUCTION":
            eqn = self._equations[index]
            return num_elements(eqn.outvars[0]) > LARGE_REDUCTION * num_elements(eqn.invars[0])
        return self._class[index] in ("STANDALONE", "GATHER", "IN_PLACE")

    def _store(self, value: Value) -> None:
        """Stores a value, or what its bytes are a view of; what comes from outside is in memory already."""
        value = self._behind(value, SAME_BYTES_VIEWS)
        if not self._in_memory(value):
            self._stored.add(value)

    def _store_results(self, leaving: Sequence[Value]) -> None:
        """Stores what leaves the group, and used results that can be read from memory alone."""
        used = {value for eqn in self._equations for value in _variables(eqn)}.union(leaving)
        for index, eqn in enumerate(self._equations):
            if self._ends_kernel(index):
                self._stored.update(out for out in eqn.outvars if out in used and out in self._maker)
        for value in leaving:
            self._store(value)

    def _store_operands(self) -> None:
        """Stores computed operands of equations that read from memory, and buffers to be updated."""
        for eqn, kind in zip(self._equations, self._class, strict=True):
            if kind in ("STANDALONE", "GATHER"):
                for value in _variables(eqn):
                    if not self._in_memory(self._behind(value, VIEWS | SLICES)):
                        self._store(value)
            elif kind == "IN_PLACE" and not is_literal(eqn.invars[0]):
                self._store(eqn.invars[0])

    def _store_across_levels(self) -> None:
        """Stores values that a later kernel reads, unless making them again reads no more bytes."""
        for index, eqn in enumerate(self._equations):
            for value in _variables(eqn):
                if self._in_memory(value) or self._level[self._maker[value]] == self._level[index]:
                    continue
                if sum(self._leaves(value).values()) > num_bytes(value):
                    self._store(value)

    def _join_kernels(self) -> None:
        """Puts equations of one level that pass values on into one kernel."""
        for index, eqn in enumerate(self._equations):
            if self._class[index] in ("STANDALONE", "GATHER"):
                continue
            for value in _variables(eqn):
                maker = self._maker.get(value)
                if maker is not None and self._level[maker] == self._level[index]:
                    self._kernel[self._find(index)] = self._find(maker)

    def _find(self, index: int) -> int:
        """Returns the representative equation of a kernel."""
        while self._kernel[index] != index:
            index = self._kernel[index]
        return index

    def _reads(self, index: int, eqn: Equation) -> list[tuple[Value, float]]:
        """Returns the stored values that an equation reads, with the bytes of each."""
        kind, kernel = self._class[index], self._find(index)
        if kind in ("VIEW", "SLICE") and not any(out in self._stored for out in eqn.outvars):
            return []
        reads: list[tuple[Value, float]] = []
        for position, value in enumerate(eqn.invars):
            elements = None
            if position == 0 and kind == "IN_PLACE":
                if eqn.primitive.name not in COMBINING_UPDATES:
                    continue
                elements = num_elements(eqn.invars[IN_PLACE_UPDATE_OPERAND[eqn.primitive.name]])
            elif position == 0 and kind in ("SLICE", "GATHER"):
                elements = num_elements(eqn.outvars[0])
            reads.extend(self._leaves(value, kernel, elements).items())
        return reads

    def _leaves(
        self, value: Value, kernel: int | None = None, elements: float | None = None
    ) -> dict[Value, float]:
        """Returns the values in memory that a value is made from, with the bytes to read of each.

        Args:
            value: The value to make.
            kernel: The kernel that reads it; what this kernel computes itself is not read.
            elements: How many elements of the value are wanted; none for all.
        """
        leaves: dict[Value, float] = {}
        pending: list[tuple[Value, float | None]] = [(value, elements)]
        seen: set[Value] = set()
        while pending:
            current, wanted = pending.pop()
            if is_literal(current) or self._made_by(current, kernel):
                continue
            if self._in_memory(current):
                size = num_bytes(current) if wanted is None else wanted * itemsize(current)
                leaves[current] = min(leaves.get(current, 0.0) + size, float(num_bytes(current)))
            elif current not in seen:
                seen.add(current)
                index = self._maker[current]
                if self._class[index] == "SLICE":
                    wanted = num_elements(current) if wanted is None else wanted
                operands = self._equations[index].invars
                pending.extend((operand, None if place else wanted) for place, operand in enumerate(operands))
        return leaves

    def _made_by(self, value: Value, kernel: int | None) -> bool:
        """Tells whether a kernel has computed a value, so that it need not read it."""
        maker = self._maker.get(value)
        if maker is None or self._find(maker) != kernel:
            return False
        return value in self._stored or self._class[maker] not in ("VIEW", "SLICE")

    def _in_memory(self, value: Value) -> bool:
        """Tells whether a value is in memory: a literal, from outside, or stored."""
        return is_literal(value) or value not in self._maker or value in self._stored

    def _behind(self, value: Value, views: frozenset[str]) -> Value:
        """Follows views of the given kinds back to what they look at, up to a value in memory."""
        while not self._in_memory(value):
            eqn = self._equations[self._maker[value]]
            if eqn.primitive.name not in views or is_literal(eqn.invars[0]):
                break
            value = eqn.invars[0]
        return value


def _variables(eqn: Equation) -> list[Value]:
    """Returns the operands of an equation that are no literals."""
    return [value for value in eqn.invars if not is_literal(value)]
