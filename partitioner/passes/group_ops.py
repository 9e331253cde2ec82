"""Groups a phase's equations into ops, named by the modules they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from partitioner.frontend.trace import TracedPhase
from partitioner.ir.graph import OpGraph, Unraised
from partitioner.ir.op import Attention, Op
from partitioner.jaxpr import Eqn, Var
from partitioner.passes.build_ops import OpBuilder
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
    groups, handed = cluster(split.data, labels, split.reads)
    attention = {attention_label(n): r.attention for n, r in enumerate(raised)}
    modules = frozenset(labels.values())
    label_of_var = {v: labels[id(e)] for e in split.data for v in e.outvars}
    builder = OpBuilder(phase, split, handed)
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
) -> tuple[list[list[Eqn]], set[Var]]:
    """Returns groups of equations of one label, in an order in which every group follows those it reads from.

    What one group makes and another reads is the second result.

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
    handed: set[Var] = set()
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
        handed.update([v for v in reads[id(eqn)] if home.get(v, group) != group])
        for v in eqn.outvars:
            home[v] = group
    order = sorted(range(len(groups)), key=lambda g: (ancestors[g].bit_count(), g))
    return [groups[g] for g in order], handed


def _add_ancestors(group: int, reach: int, ancestors: list[int], children: Sequence[Iterable[int]]) -> None:
    """Adds ancestors to a group, and to those that follow it as far as they lack any."""
    pending = [group]
    while pending:
        below = pending.pop()
        if reach & ~ancestors[below]:
            ancestors[below] |= reach
            pending += children[below]


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
