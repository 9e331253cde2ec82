"""Completes groups of equations to ops."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence, Set
from dataclasses import dataclass

from cost_models import Work, fused_outputs, work_of
from partitioner.frontend.trace import TracedPhase
from partitioner.ir.op import Attention, Op
from partitioner.jaxpr import Eqn, Var, borders, dtype_of
from partitioner.passes.repeated_groups import Parts, RepeatedGroups
from partitioner.passes.split_equations import SplitEquations


@dataclass(frozen=True)
class _Alike:
    """Holds what ops of one form have in common."""

    form: int
    work: Work
    dtype: str
    gathered: tuple[bool, ...]


class OpBuilder:
    """Completes groups of equations to ops.

    Args:
        phase: The phase.
        split: Its equations, sorted.
        handed: What one group makes and another reads, by the numbers of values.
    """

    def __init__(self, phase: TracedPhase, split: SplitEquations, handed: Set[int]) -> None:
        self._phase, self._forms, self._inputs = phase, phase.forms, phase.input_of
        self._made_again = {v: e for e in (*split.index, *split.param) for v in e.outvars}
        self._logits = phase.outputs[0].atom
        self._states = {o.atom: o.name for o in phase.outputs if o.role in ("cache", "cursor")}
        self._alike: dict[Hashable, _Alike] = {}
        self._fused = fused_outputs(phase.equations, [o.atom for o in phase.outputs])
        self._reads = split.reads
        self._numbers = phase.numbers
        results = [self._numbers.of[o.atom] for o in phase.outputs if isinstance(o.atom, Var)]
        self._needed_elsewhere = self._made({*handed, *results})
        self._repeated: RepeatedGroups[_Alike] = RepeatedGroups(split, self._form_of)

    def makes_logits(self, group: Iterable[int]) -> bool:
        """Tells whether a group of equations, by their positions, makes the phase's logits."""
        return any(v is self._logits for n in group for v in self._phase.equations[n].outvars)

    def build(self, name: str, group: Sequence[int], attention: Attention | None) -> Op:
        """Returns the op of a group, with the index arithmetic and parameter views it needs.

        Args:
            name: Its name.
            group: Positions of its equations.
            attention: What it is raised to.
        """
        outputs = self._outputs(group)
        known = self._repeated.find(group, outputs)
        if known is None:
            parts = self._completed(group, outputs)
            alike = self._alike_to(parts)
            self._repeated.remember(group, parts, alike)
        else:
            parts, alike = known
        described = [self._inputs.get(v) for v in parts.inputs]
        states = [i.name for i in described if i and i.role in ("cache", "cursor")]
        states += [self._states[v] for v in outputs if v in self._states]
        return Op(
            name=name,
            kind="attention" if attention else "compute",
            equations=parts.equations,
            inputs=parts.inputs,
            outputs=outputs,
            params=tuple(i.name for i in described if i and i.role in ("param", "const", "rng")),
            gathered=tuple(i.name for i, only in zip(described, alike.gathered, strict=True) if i and only),
            states=tuple(dict.fromkeys(states)),
            work=alike.work,
            dtype=alike.dtype,
            form=alike.form,
            attention=attention,
        )

    def _made(self, values: Set[int]) -> dict[int, list[Var]]:
        """Returns for the positions of equations which of some values, by their numbers, they make."""
        first, found = self._numbers.first, dict[int, list[Var]]()
        for n in sorted(values):
            if n >= first[0]:
                position = bisect_right(first, n) - 1
                outvars = self._phase.equations[position].outvars
                found.setdefault(position, []).append(outvars[n - first[position]])
        return found

    def _outputs(self, group: Sequence[int]) -> tuple[Var, ...]:
        """Returns what is needed elsewhere of what equations make."""
        needed = self._needed_elsewhere
        return tuple([v for e in group if e in needed for v in needed[e]])

    def _completed(self, positions: Sequence[int], outputs: tuple[Var, ...]) -> Parts:
        group = [self._phase.equations[n] for n in positions]
        needed = self._needed(group)
        equations = self._phase.flow.sorted([*group, *needed]) if needed else tuple(group)
        return Parts(equations, tuple(borders(equations, self._reads)), outputs)

    def _form_of(self, values: Sequence[Var]) -> Hashable:
        """Returns what else than equations tells ops apart: of what they read or make, whether it is kept, and fused."""
        return tuple([(v in self._states, v in self._fused, self._forms.type_of(v)) for v in values])

    def _alike_to(self, parts: Parts) -> _Alike:
        """Returns what the op has in common with others of its form, found out once for all of them."""
        equations, inputs, outputs = parts.equations, parts.inputs, parts.outputs
        roles = tuple([self._inputs[v].role if v in self._inputs else None for v in inputs])
        kept = tuple([v in self._states for v in outputs])
        fused = tuple([v in self._fused for v in outputs])
        key = (self._forms.signature(equations, inputs, outputs), roles, kept, fused)
        known = self._alike.get(key)
        if known is None:
            gathered = tuple(
                role == "param" and _only_gathered(v, equations)
                for v, role in zip(inputs, roles, strict=True)
            )
            work = work_of(equations, inputs, outputs, self._fused.intersection(outputs))
            known = _Alike(len(self._alike), work, _dtype(equations, outputs), gathered)
            self._alike[key] = known
        return known

    def _needed(self, group: Sequence[Eqn]) -> list[Eqn]:
        found: dict[int, Eqn] = {}
        pending = [v for e in group for v in self._reads[id(e)] if v in self._made_again]
        while pending:
            eqn = self._made_again[pending.pop()]
            if id(eqn) not in found:
                found[id(eqn)] = eqn
                pending += [v for v in self._reads[id(eqn)] if v in self._made_again]
        return list(found.values())


def _only_gathered(var: Var, equations: Iterable[Eqn]) -> bool:
    readers = [e for e in equations if any(a is var for a in e.invars)]
    return all(e.primitive.name == "gather" and e.invars[0] is var for e in readers)


def _dtype(equations: Sequence[Eqn], outputs: Sequence[Var]) -> str:
    contracted = [e.invars[0] for e in equations if e.primitive.name == "dot_general"]
    telling = [*contracted, *outputs]
    return dtype_of(telling[0]).name if telling else "float32"
