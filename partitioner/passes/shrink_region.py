"""Rewrites an attention region to a small batch and length, so that it can be run without tracing the model again.

Only a short cut: sizes are replaced wherever they stand in the region's types and parameters, which is sound if no other size
equals them. A region that was shrunk wrongly cannot pass for attention (it is run against reference attention afterwards, as
any other); the caller then traces a small step instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from partitioner.frontend.trace import TracedPhase
from partitioner.jaxpr import (
    Atom,
    Eqn,
    Literal,
    Var,
    borders,
    fresh_variables,
    needed_for,
    shape_of,
    variables,
)
from partitioner.passes.find_attention import AttentionRegion, CacheUse

_SIZE_PARAMS = frozenset({"shape", "new_sizes", "slice_sizes", "limit_indices"})
_SMALL = 1 << 20


@dataclasses.dataclass(frozen=True)
class SmallRegion:
    """Holds a region of small sizes with all it needs to run.

    Attributes:
        region: The region.
        phase: A phase of those sizes, whose inputs are the index inputs the region needs.
        index: Index equations the region needs.
        kv_heads: KV heads of the model, where the region has fewer; None where it has all.
    """

    region: AttentionRegion
    phase: TracedPhase
    index: tuple[Eqn, ...]
    kv_heads: int | None = None


def shrink_region(
    region: AttentionRegion, phase: TracedPhase, index: Sequence[Eqn], batch: int, length: int
) -> SmallRegion | None:
    """Returns the region at a small batch and length, or None where sizes cannot be told apart.

    Args:
        region: The region at the workload's sizes.
        phase: Its phase.
        index: The phase's index equations.
        batch: Wanted rows.
        length: Wanted cache slots.
    """
    cache = shape_of(region.key.before)
    old = (phase.batch_size, phase.max_len)
    if cache.count(old[0]) != 1 or cache.count(old[1]) != 1 or old[0] == old[1] or 1 in old:
        return None
    if batch in cache or length in cache:
        return None
    sizes = {old[0]: batch, old[1]: length}
    needed = needed_for(index, borders(region.equations))
    shapes = [shape_of(v) for e in region.equations for v in (*variables(e.invars), *e.outvars)]
    if any(shape.count(n) > 1 for shape in shapes for n in sizes):
        return None
    return rewritten_region(region, phase, needed, sizes)


def rewritten_region(
    region: AttentionRegion, phase: TracedPhase, index: Sequence[Eqn], sizes: Mapping[int, int]
) -> SmallRegion:
    """Returns a region with sizes replaced wherever they stand.

    Args:
        region: The region.
        phase: Its phase.
        index: The index equations it needs.
        sizes: New sizes by old ones.
    """
    rewrite = SizeRewrite(dict(sizes))
    small_index = [rewrite.equation(e) for e in index]
    small_equations = {id(e): rewrite.equation(e) for e in region.equations}
    read = set(borders([*index, *region.equations]))
    inputs = tuple(dataclasses.replace(i, var=rewrite.var(i.var)) for i in phase.inputs if i.var in read)
    batch, length = (sizes.get(n, n) for n in (phase.batch_size, phase.max_len))
    small_phase = dataclasses.replace(
        phase, inputs=inputs, equations=(), outputs=(), batch_size=batch, max_len=length
    )
    small = AttentionRegion(
        key=_use(region.key, rewrite, small_equations),
        value=_use(region.value, rewrite, small_equations),
        query=rewrite.var(region.query),
        output=rewrite.var(region.output),
        equations=tuple(small_equations.values()),
    )
    return SmallRegion(small, small_phase, tuple(small_index))


def as_small_region(region: AttentionRegion, phase: TracedPhase, index: Sequence[Eqn]) -> SmallRegion | None:
    """Returns the region as it is if it is small enough to run and its sizes can be told apart."""
    cache = shape_of(region.key.before)
    size = 1
    for d in cache:
        size *= d
    distinct = cache.count(phase.batch_size) == 1 and cache.count(phase.max_len) == 1
    if size > _SMALL or not distinct:
        return None
    return SmallRegion(region, phase, tuple(needed_for(index, borders(region.equations))))


def _use(use: CacheUse, rewrite: SizeRewrite, equations: dict[int, Eqn]) -> CacheUse:
    return CacheUse(
        name=use.name,
        before=rewrite.var(use.before),
        written=rewrite.var(use.written),
        after=rewrite.var(use.after),
        new=rewrite.var(use.new),
        update=tuple(equations[id(e)] for e in use.update),
        views=tuple(equations[id(e)] for e in use.views),
        contraction=equations[id(use.contraction)],
        operand=use.operand,
    )


class SizeRewrite:
    """Replaces sizes in variables, literals and parameters."""

    def __init__(self, sizes: dict[int, int]) -> None:
        self._sizes = sizes
        self._vars: dict[Var, Var] = {}
        self._avals: dict[Any, Any] = {}
        self._fresh: Callable[[Any], Var] = fresh_variables()

    def var(self, var: Var) -> Var:
        """Returns the small twin of a variable."""
        if var not in self._vars:
            aval: Any = var.aval
            if aval not in self._avals:
                self._avals[aval] = aval.update(shape=self._tuple(aval.shape))
            self._vars[var] = self._fresh(self._avals[aval])
        return self._vars[var]

    def equation(self, eqn: Eqn) -> Eqn:
        """Returns the small twin of an equation."""
        params = {
            k: self._tuple(v) if k in _SIZE_PARAMS and isinstance(v, tuple) else v
            for k, v in eqn.params.items()
        }
        return eqn.replace(
            invars=[self._atom(a) for a in eqn.invars],
            outvars=[self.var(v) for v in eqn.outvars],
            params=params,
        )

    def _atom(self, atom: Atom) -> Atom:
        if not isinstance(atom, Literal):
            return self.var(atom)
        aval: Any = atom.aval
        if aval.shape == () and aval.dtype.kind in "iu" and int(atom.val) in self._sizes:
            return Literal(aval.dtype.type(self._sizes[int(atom.val)]), aval)
        return atom

    def _tuple(self, sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(self._sizes.get(int(s), int(s)) for s in sizes)
