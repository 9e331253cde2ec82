"""Groups a phase's equations into ops, named by the modules they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from partitioner.frontend.trace import TracedPhase
from partitioner.ir.graph import OpGraph, Unraised
from partitioner.ir.op import Attention, Op
from partitioner.passes.build_ops import OpBuilder
from partitioner.passes.label_equations import (
    attention_label,
    is_attention_label,
    label_equations,
    split_indices,
)
from partitioner.passes.raise_attention import RaisedAttention
from partitioner.passes.split_equations import SplitEquations
from partitioner.value_numbers import ValueNumbers


def group_ops(
    phase: TracedPhase,
    split: SplitEquations,
    raised: Sequence[RaisedAttention],
    unraised: Sequence[Unraised] = (),
) -> OpGraph:
    """Returns the op graph: one op per raised attention and per module, more where one would close a cycle."""
    labels = label_equations(phase, split, raised)
    groups, handed = cluster(split.data_positions, labels, phase.numbers)
    attention = {attention_label(n): r.attention for n, r in enumerate(raised)}
    modules = frozenset(labels)
    builder = OpBuilder(phase, split, handed)
    used: set[str] = set()
    ops: list[Op] = []
    for group in groups:
        label = labels[group[0]]
        assert label is not None, "every data equation has a label"
        info = attention.get(label)
        name = _attention_name(info, phase, labels, modules) if info else label
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
    data: Sequence[int], labels: Sequence[str | None], numbers: ValueNumbers
) -> tuple[list[list[int]], set[int]]:
    """Returns groups of equations of one label, in an order in which every group follows those it reads from.

    What one group makes and another reads is the second result, by the numbers of values.

    Sets of groups are bit masks: group i is bit i.

    Args:
        data: The positions of the equations, in execution order.
        labels: Of each equation, by its position.
        numbers: The values, numbered.
    """
    reads, first = numbers.reads, numbers.first
    groups: list[list[int]] = []
    ancestors: list[int] = []
    children: list[set[int]] = []
    current: dict[str | None, int] = {}
    home = [-1] * numbers.count
    handed: set[int] = set()
    for position in data:
        parents = {at for n in reads[position] if (at := home[n]) >= 0}
        label = labels[position]
        group = current.get(label)
        if group is None or parents != {group}:
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
            handed.update([n for n in reads[position] if home[n] not in (-1, group)])
        groups[group].append(position)
        for n in range(first[position], first[position + 1]):
            home[n] = group
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


def _attention_name(
    attention: Attention, phase: TracedPhase, labels: Sequence[str | None], modules: frozenset[str | None]
) -> str:
    """Returns the path that the modules of q, k and v have in common, with ``attention`` in it, and no module's own name."""
    read = (attention.query, attention.new_key, attention.new_value)
    makers = [phase.flow.maker[v] for v in read if v in phase.flow.maker]
    known = [label for e in makers if (label := labels[phase.flow.order[id(e)]]) is not None]
    modules_read = [split_indices(label) for label in known if not is_attention_label(label)]
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
