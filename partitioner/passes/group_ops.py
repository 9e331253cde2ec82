"""Groups a phase's equations into ops, named by the modules they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cost_models import Work, work_of
from partitioner.frontend.trace import TracedPhase
from partitioner.ir.graph import OpGraph, Unraised
from partitioner.ir.op import Attention, Op
from partitioner.jaxpr import Eqn, Var, borders, dtype_of, signature, variables
from partitioner.passes.label_equations import attention_label, is_attention_label, label_equations
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
    groups = cluster(split.data, labels)
    attention = {attention_label(n): r.attention for n, r in enumerate(raised)}
    modules = frozenset(labels.values())
    label_of_var = {v: labels[id(e)] for e in split.data for v in e.outvars}
    builder = _OpBuilder(phase, split, groups)
    used: set[str] = set()
    ops: list[Op] = []
    for number, group in enumerate(groups):
        label = labels[id(group[0])]
        info = attention.get(label)
        name = _attention_name(info, label_of_var, modules) if info else label
        if name in used and builder.makes_logits(group) and "logits" not in used:
            name = "logits"
        while name in used:
            base, _, count = name.partition("#")
            name = f"{base}#{int(count or 1) + 1}"
        used.add(name)
        ops.append(builder.build(number, name, group, info))
    return OpGraph(
        phase=phase,
        ops=tuple(ops),
        index_equations=split.index,
        param_equations=split.param,
        unraised=tuple(unraised),
    )


def cluster(data: Sequence[Eqn], labels: dict[int, str]) -> list[list[Eqn]]:
    """Returns groups of equations of one label, in an order in which every group follows those it reads from."""
    groups: list[list[Eqn]] = []
    ancestors: list[int] = []
    current: dict[str, int] = {}
    home: dict[Var, int] = {}
    for eqn in data:
        parents = {home[v] for v in variables(eqn.invars) if v in home}
        group = current.get(labels[id(eqn)])
        if group is None or any((ancestors[p] >> group) & 1 for p in parents):
            group = len(groups)
            groups.append([])
            ancestors.append(0)
            current[labels[id(eqn)]] = group
        reach = 0
        for p in parents - {group}:
            reach |= ancestors[p] | (1 << p)
        if reach & ~ancestors[group]:
            ancestors[group] |= reach
            for other, before in enumerate(ancestors):
                if (before >> group) & 1:
                    ancestors[other] |= ancestors[group]
        groups[group].append(eqn)
        home.update((v, group) for v in eqn.outvars)
    order = sorted(range(len(groups)), key=lambda g: (ancestors[g].bit_count(), g))
    return [groups[g] for g in order]


class _OpBuilder:
    """Completes groups of equations to ops."""

    def __init__(self, phase: TracedPhase, split: SplitEquations, groups: Sequence[Sequence[Eqn]]) -> None:
        self._inputs = {i.var: i for i in phase.inputs}
        self._position = {id(e): i for i, e in enumerate(phase.equations)}
        self._repeated = {v: e for e in (*split.index, *split.param) for v in e.outvars}
        self._logits = phase.outputs[0].atom
        self._states = {o.atom: o.name for o in phase.outputs if o.role in ("cache", "cursor")}
        self._readers: dict[Var, set[int]] = {}
        self._work_of: dict[tuple[Any, ...], Work] = {}
        for number, group in enumerate(groups):
            for v in {v for e in group for v in variables(e.invars)}:
                self._readers.setdefault(v, set()).add(number)
        self._results = {o.atom for o in phase.outputs if isinstance(o.atom, Var)}

    def makes_logits(self, group: Iterable[Eqn]) -> bool:
        """Tells whether the group makes the phase's logits."""
        return any(v is self._logits for e in group for v in e.outvars)

    def build(self, number: int, name: str, group: Sequence[Eqn], attention: Attention | None) -> Op:
        """Returns the op of a group, with the index arithmetic and parameter views it needs."""
        equations = sorted([*group, *self._needed(group)], key=lambda e: self._position[id(e)])
        inputs = borders(equations)
        outputs = [
            v
            for e in group
            for v in e.outvars
            if v in self._results or self._readers.get(v, set()) - {number}
        ]
        described = [self._inputs[v] for v in inputs if v in self._inputs]
        params = [i.name for i in described if i.role in ("param", "const", "rng")]
        states = [i.name for i in described if i.role in ("cache", "cursor")]
        states += [self._states[v] for v in outputs if v in self._states]
        return Op(
            name=name,
            kind="attention" if attention else "compute",
            equations=tuple(equations),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            params=tuple(params),
            gathered=tuple(
                i.name for i in described if i.role == "param" and _only_gathered(i.var, equations)
            ),
            states=tuple(dict.fromkeys(states)),
            work=self._work(equations, inputs, outputs),
            dtype=_dtype(equations, outputs),
            attention=attention,
        )

    def _work(self, equations: Sequence[Eqn], inputs: Sequence[Var], outputs: Sequence[Var]) -> Work:
        """Returns the work of an op, counted once for ops that compute the same."""
        form = signature(equations, inputs, outputs)
        if form not in self._work_of:
            self._work_of[form] = work_of(equations, inputs, outputs)
        return self._work_of[form]

    def _needed(self, group: Sequence[Eqn]) -> list[Eqn]:
        found: dict[int, Eqn] = {}
        pending = [v for e in group for v in variables(e.invars)]
        while pending:
            eqn = self._repeated.get(pending.pop())
            if eqn is not None and id(eqn) not in found:
                found[id(eqn)] = eqn
                pending += variables(eqn.invars)
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
    paths = [label.split(".") for label in labels if not is_attention_label(label)]
    common = _common_prefix(paths)
    if any(path == common for path in paths):
        common = common[:-1]
    if not any("att" in part.lower() for part in common):
        common = [*common, "attention"]
    name = ".".join(common)
    return f"{name}.attention" if name in modules else name


def _common_prefix(paths: Sequence[Sequence[str]]) -> list[str]:
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return common
