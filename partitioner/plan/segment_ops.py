"""Cuts a phase into segments: runs of ops on one device that become one executable."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence

from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Op
from partitioner.jaxpr import Eqn, Var
from partitioner.plan.decisions import SPLIT, Decision
from partitioner.plan.steps import Segment


def segment_ops(graph: OpGraph, decisions: Mapping[str, Decision]) -> tuple[Segment, ...]:
    """Returns the phase's segments in execution order.

    A segment ends where the device changes, before an op that waits for streamed weights or caches, and, in a prefill, after an
    attention whose cache leaves the device, so that the transfer runs under the next layer.
    """
    phase = graph.phase.name
    groups: list[list[Op]] = []
    previous: Op | None = None
    for op in graph.ops:
        if previous is None or _cut_between(previous, op, decisions, phase):
            groups.append([])
        groups[-1].append(op)
        previous = op
    signatures, classes = _Signatures(graph), dict[Hashable, int]()
    return tuple(_segment(graph, n, group, decisions, signatures, classes) for n, group in enumerate(groups))


class _Signatures:
    """Tells what groups of ops share that compute the same; groups whose ops have equal forms and are wired alike are one.

    Args:
        graph: The phase's ops.
    """

    def __init__(self, graph: OpGraph) -> None:
        self._phase = graph.phase
        self._known: dict[Hashable, Hashable] = {}

    def equations(self, group: Sequence[Op]) -> tuple[tuple[Eqn, ...], tuple[Var, ...]]:
        """Returns the equations of a group in execution order, each once, and what they read from outside."""
        if len(group) == 1:
            return group[0].equations, group[0].inputs
        order = self._phase.flow.order
        ends = [(order[id(op.equations[0])], order[id(op.equations[-1])]) for op in group]
        equations = tuple([e for op in group for e in op.equations])
        if any(before[1] >= after[0] for before, after in itertools.pairwise(ends)):
            equations = self._phase.flow.sorted(equations)
        return equations, _read_from_outside(group)

    def of(
        self, group: Sequence[Op], equations: Sequence[Eqn], inputs: Sequence[Var], outputs: Sequence[Var]
    ) -> Hashable:
        """Returns what groups share exactly if they compute the same function of their inputs."""
        if any(op.form < 0 for op in group):  # ops that were changed may have a form for several functions
            return self._phase.forms.signature(equations, inputs, outputs)
        key = _wiring(group, inputs, outputs), len(equations)
        if key not in self._known:
            self._known[key] = self._phase.forms.signature(equations, inputs, outputs)
        return self._known[key]


def _read_from_outside(group: Sequence[Op]) -> tuple[Var, ...]:
    """Returns what ops read from outside, op by op in order of first use."""
    made: set[Var] = set()
    read: dict[Var, None] = {}
    for op in group:
        read.update(dict.fromkeys([v for v in op.inputs if v not in made]))
        made.update(op.outputs)
    return tuple(read)


def _wiring(group: Sequence[Op], inputs: Sequence[Var], outputs: Sequence[Var]) -> Hashable:
    """Returns the forms of ops, and which of what the group reads and of what they make each reads; and what is handed on.

    Groups that share this, and the number of their equations, compute the same: those that have an index arithmetic in common
    in one group alone differ in that number.
    """
    number = {v: n for n, v in enumerate(inputs)}
    row: list[int] = []
    for op in group:
        row.append(op.form)
        for v in op.inputs:
            row.append(number[v])
        for v in op.outputs:
            number[v] = len(number)
    return tuple(row), tuple([number[v] for v in outputs])


def streams_cache(op: Op, decision: Decision, phase: str) -> bool:
    """Tells whether an attention of a decode runs on a processor away from its cache."""
    return (
        bool(op.attention) and phase == "decode" and decision.tier(phase) not in (decision.home, "csd", SPLIT)
    )


def streams_weights(op: Op, decision: Decision, phase: str) -> bool:
    """Tells whether an op's large weights live elsewhere."""
    return op.attention is None and decision.home not in ("-", decision.tier(phase))


def _cut_between(before: Op, after: Op, decisions: Mapping[str, Decision], phase: str) -> bool:
    first, second = decisions[before.name], decisions[after.name]
    tiers = {first.tier(phase), second.tier(phase)}
    if len(tiers) > 1 or tiers & {"csd", SPLIT}:
        return True
    if streams_cache(after, second, phase) or streams_weights(after, second, phase):
        return True
    return bool(before.attention) and first.home != first.tier(phase)


def _segment(
    graph: OpGraph,
    number: int,
    group: Sequence[Op],
    decisions: Mapping[str, Decision],
    signatures: _Signatures,
    classes: dict[Hashable, int],
) -> Segment:
    phase = graph.phase.name
    tier = decisions[group[0].name].tier(phase)
    names = {op.name for op in group}
    equations, inputs = signatures.equations(group)
    outputs = tuple(v for op in group for v in op.outputs if _leaves(graph, op, v, names, decisions))
    replaced = {graph.output_of[v].name for v in outputs if v in graph.output_of and phase == "decode"}
    donated = tuple(
        v
        for v in inputs
        if v in graph.input_of and graph.input_of[v].role == "cache" and graph.input_of[v].name in replaced
    )
    is_command = tier in ("csd", SPLIT)
    form = (
        tier,
        signatures.of(group, equations, inputs, outputs),
        tuple(inputs.index(v) for v in donated),
    )
    return Segment(
        index=number,
        name=group[0].name if len(group) == 1 else f"{group[0].name} .. {group[-1].name}",
        phase=phase,
        device="gpu0" if tier == "gpu" else tier,
        ops=tuple(op.name for op in group),
        equations=equations,
        inputs=inputs,
        outputs=outputs,
        donated=() if is_command else donated,
        executable=classes.setdefault(form, len(classes)),
        attention=group[0].name if is_command else None,
    )


def _leaves(graph: OpGraph, op: Op, var: Var, names: set[str], decisions: Mapping[str, Decision]) -> bool:
    """Tells whether a value is needed after its segment."""
    phase = graph.phase.name
    decision = decisions[op.name]
    described = graph.output_of.get(var)
    if var in graph.kept_inputs:
        return True
    if described is not None:
        if described.role != "cache":
            return True
        if op.attention is None or phase == "prefill" or decision.tier(phase) == decision.home:
            return True
    return any(graph.ops[c].name not in names for c in graph.consumers.get(var, ()))
