"""Groups a phase's equations into ops, named by the modules they belong to."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cost_models import Work, fused_outputs, work_of
from partitioner.frontend.trace import TracedPhase
from partitioner.ir.graph import OpGraph, Unraised
from partitioner.ir.op import Attention, Op
from partitioner.jaxpr import Eqn, Var, borders, dtype_of
from partitioner.passes.label_equations import (
    attention_label,
    is_attention_label,
    label_equations,
    split_indices,
)
from partitioner.passes.raise_attention import RaisedAttention
from partitioner.passes.split_equations import SplitEquations


def group_ops(
    phase: TracedPhase,
    split: SplitEquations,
    raised: Sequence[RaisedAttention],
    unraised: Sequence[Unraised] = (),
) -> OpGraph:
    """Returns the op graph: one op per raised attention and per module, more where one would close a cycle."""
    labels = label_equations(phase, split, raised)
    groups = cluster(split.data, labels, split.reads)
    attention = {attention_label(n): r.attention for n, r in enumerate(raised)}
    modules = frozenset(labels.values())
    label_of_var = {v: labels[id(e)] for e in split.data for v in e.outvars}
    builder = _OpBuilder(phase, split, groups)
    used: set[str] = set()
    ops: list[Op] = []
    for group in groups:
        label = labels[id(group[0])]
        info = attention.get(label)
        name = _attention_name(info, label_of_var, modules) if info else label
        if name in used and builder.makes_logits(group) and "logits" not in used:
            name = "logits"
        while name in used:
            base, _, count = name.partition("#")
            name = f"{base}#{int(count or 1) + 1}"
        used.add(name)
        ops.append(builder.build(name, group, info))
    return OpGraph(
        phase=phase,
        ops=tuple(ops),
        index_equations=split.index,
        param_equations=split.param,
        unraised=tuple(unraised),
    )


def cluster(
    data: Sequence[Eqn], labels: Mapping[int, str], reads: Mapping[int, Sequence[Var]]
) -> list[list[Eqn]]:
    """Returns groups of equations of one label, in an order in which every group follows those it reads from.

    Sets of groups are bit masks: group i is bit i.

    Args:
        data: The equations in execution order.
        labels: Of each, by its identity.
        reads: The variables that each of them reads, likewise.
    """
    groups: list[list[Eqn]] = []
    ancestors: list[int] = []
    children: list[set[int]] = []
    current: dict[str, int] = {}
    home: dict[Var, int] = {}
    for eqn in data:
        parents = {home[v] for v in reads[id(eqn)] if v in home}
        label = labels[id(eqn)]
        group = current.get(label)
        if group is not None and parents == {group}:
            groups[group].append(eqn)
            for v in eqn.outvars:
                home[v] = group
            continue
        if group is None or any((ancestors[p] >> group) & 1 for p in parents):
            group = len(groups)
            groups.append([])
            ancestors.append(0)
            children.append(set())
            current[label] = group
        reach = 0
        for p in parents - {group}:
            reach |= ancestors[p] | (1 << p)
            children[p].add(group)
        _add_ancestors(group, reach, ancestors, children)
        groups[group].append(eqn)
        for v in eqn.outvars:
            home[v] = group
    order = sorted(range(len(groups)), key=lambda g: (ancestors[g].bit_count(), g))
    return [groups[g] for g in order]


def _add_ancestors(group: int, reach: int, ancestors: list[int], children: Sequence[Iterable[int]]) -> None:
    """Adds ancestors to a group, and to those that follow it as far as they lack any."""
    pending = [group]
    while pending:
        below = pending.pop()
        if reach & ~ancestors[below]:
            ancestors[below] |= reach
            pending += children[below]


@dataclass(frozen=True)
class _Alike:
    """Holds what ops of one form have in common."""

    form: int
    work: Work
    dtype: str
    gathered: tuple[bool, ...]


class _OpBuilder:
    """Completes groups of equations to ops."""

    def __init__(self, phase: TracedPhase, split: SplitEquations, groups: Sequence[Sequence[Eqn]]) -> None:
        self._forms, self._inputs = phase.forms, phase.input_of
        self._position = {id(e): i for i, e in enumerate(phase.equations)}
        self._repeated = {v: e for e in (*split.index, *split.param) for v in e.outvars}
        self._logits = phase.outputs[0].atom
        self._states = {o.atom: o.name for o in phase.outputs if o.role in ("cache", "cursor")}
        self._alike: dict[Hashable, _Alike] = {}
        self._fused = fused_outputs(phase.equations, [o.atom for o in phase.outputs])
        self._reads = split.reads
        self._needed_elsewhere = {o.atom for o in phase.outputs if isinstance(o.atom, Var)}
        for group in groups:
            made = {v for e in group for v in e.outvars}
            read = {v for e in group for v in self._reads[id(e)]}
            self._needed_elsewhere |= read - made

    def makes_logits(self, group: Iterable[Eqn]) -> bool:
        """Tells whether the group makes the phase's logits."""
        return any(v is self._logits for e in group for v in e.outvars)

    def build(self, name: str, group: Sequence[Eqn], attention: Attention | None) -> Op:
        """Returns the op of a group, with the index arithmetic and parameter views it needs."""
        needed = self._needed(group)
        equations = sorted([*group, *needed], key=lambda e: self._position[id(e)]) if needed else group
        inputs = borders(equations, self._reads)
        outputs = [v for e in group for v in e.outvars if v in self._needed_elsewhere]
        alike = self._alike_to(equations, inputs, outputs)
        described = [self._inputs.get(v) for v in inputs]
        states = [i.name for i in described if i and i.role in ("cache", "cursor")]
        states += [self._states[v] for v in outputs if v in self._states]
        return Op(
            name=name,
            kind="attention" if attention else "compute",
            equations=tuple(equations),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            params=tuple(i.name for i in described if i and i.role in ("param", "const", "rng")),
            gathered=tuple(i.name for i, only in zip(described, alike.gathered, strict=True) if i and only),
            states=tuple(dict.fromkeys(states)),
            work=alike.work,
            dtype=alike.dtype,
            form=alike.form,
            attention=attention,
        )

    def _alike_to(self, equations: Sequence[Eqn], inputs: Sequence[Var], outputs: Sequence[Var]) -> _Alike:
        """Returns what the op has in common with others of its form, found out once for all of them."""
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
        pending = [v for e in group for v in self._reads[id(e)] if v in self._repeated]
        while pending:
            eqn = self._repeated[pending.pop()]
            if id(eqn) not in found:
                found[id(eqn)] = eqn
                pending += [v for v in self._reads[id(eqn)] if v in self._repeated]
        return list(found.values())


def _only_gathered(var: Var, equations: Iterable[Eqn]) -> bool:
    readers = [e for e in equations if any(a is var for a in e.invars)]
    return all(e.primitive.name == "gather" and e.invars[0] is var for e in readers)


def _dtype(equations: Sequence[Eqn], outputs: Sequence[Var]) -> str:
    contracted = [e.invars[0] for e in equations if e.primitive.name == "dot_general"]
    telling = [*contracted, *outputs]
    return dtype_of(telling[0]).name if telling else "float32"


def _attention_name(attention: Attention, label_of_var: dict[Var, str], modules: frozenset[str]) -> str:
    """Returns the path that the modules of q, k and v have in common, with ``attention`` in it, and no module's own name."""
    read = (attention.query, attention.new_key, attention.new_value)
    labels = [label_of_var[v] for v in read if v in label_of_var]
    modules_read = [split_indices(label) for label in labels if not is_attention_label(label)]
    paths = [path.split(".") for path, _ in modules_read]
    elements = {indices for _, indices in modules_read}
    indices = elements.pop() if len(elements) == 1 else ""
    common = _common_prefix(paths)
    if any(path == common for path in paths):
        common = common[:-1]
    if not any("att" in part.lower() for part in common):
        common = [*common, "attention"]
    name = ".".join(common)
    return f"{name}.attention{indices}" if name + indices in modules else name + indices


def _common_prefix(paths: Sequence[Sequence[str]]) -> list[str]:
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return common
