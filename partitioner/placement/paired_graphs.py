"""The op graphs of all phases with ops paired: what the problems of all modes and policies have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from partitioner.costing import Costing
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Op
from partitioner.ir.working_set import peak_working_set_bytes
from partitioner.passes.fold_blocks import PairedOp, ValueFlow, cut_points, fold, pair_ops, value_flows
from partitioner.placement.block_shapes import BlockShapes
from partitioner.placement.known_splits import KnownSplits
from partitioner.plan.names import folded

SMALL_WEIGHT_BYTES = 1 << 20
"""Weights below this are kept on every device that uses them: streaming them would cost a latency each."""


class Kind(NamedTuple):
    """Holds what pairs of ops of one form are.

    Attributes:
        first: The number of the first one.
        attends: Whether they attend.
        shared: Whether they use weights that others use, too.
    """

    first: int
    attends: bool
    shared: bool


@dataclass(frozen=True)
class PairedGraphs:
    """Holds the op graphs of all phases with ops paired and values listed: what problems of any mode are built from."""

    graphs: tuple[OpGraph, ...]
    pairs: tuple[PairedOp, ...]
    flows: tuple[ValueFlow, ...]
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, graphs: Sequence[OpGraph]) -> PairedGraphs:
        """Pairs the ops of the graphs."""
        pairs = pair_ops(graphs)
        flows = value_flows(graphs, pairs)
        return cls(tuple(graphs), pairs, flows, cut_points(len(pairs), flows, len(graphs)))

    @cached_property
    def peak_activation_bytes(self) -> float:
        """Returns the largest working set of any op."""
        return float(max(map(peak_working_set_bytes, self.graphs)))

    def activation_bytes(self, costing: Costing) -> float:
        """Returns the largest working set of any op under a stack, which may prefill the whole batch at once."""
        if costing.hw.software is None or not costing.stack.whole_prefill:
            return self.peak_activation_bytes
        batch = costing.workload.batch_size
        return max(peak_working_set_bytes(g) * batch / g.phase.batch_size for g in self.graphs)

    def asked_before(self, costing: Costing) -> Costing:
        """Returns one that answers the same, and knows what modes and policies have asked already."""
        return self._known_costings.setdefault(costing, costing)

    @cached_property
    def _known_costings(self) -> dict[Costing, Costing]:
        """Holds those that have been asked."""
        return {}

    @cached_property
    def known_splits(self) -> KnownSplits:
        """Returns the ways to share attentions that any mode has asked for; filled by those who ask."""
        return KnownSplits()

    @cached_property
    def param_bytes(self) -> Mapping[str, int]:
        """Maps the name of a parameter to its bytes."""
        return {name: size for graph in self.graphs for name, size in graph.param_bytes.items()}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Returns the names of the ops with the numbers of their layers left out."""
        return tuple(folded(p.name) for p in self.pairs)

    @cached_property
    def shapes(self) -> BlockShapes:
        """Returns the shapes of what lies between cuts."""
        return BlockShapes(self.flows, self.cuts)

    def folded(self, forms: Sequence[Hashable]) -> tuple[tuple[int, int, int], ...]:
        """Returns (start, period, count) of what repeats among the blocks between cuts, given their forms (see ``fold``)."""
        first: dict[Hashable, int] = {}
        numbers = tuple(first.setdefault(form, len(first)) for form in forms)
        if numbers not in self._known_folds:
            self._known_folds[numbers] = fold(numbers)
        return self._known_folds[numbers]

    @cached_property
    def _known_folds(self) -> dict[tuple[int, ...], tuple[tuple[int, int, int], ...]]:
        """Holds how forms fold: blocks that are alike in one mode mostly are in others."""
        return {}

    @cached_property
    def users(self) -> dict[str, tuple[int, ...]]:
        """Returns for each large parameter that more than one op uses the pairs of these ops, its owner first.

        Small ones are kept wherever they are used. The owner is charged with the memory: the last op that reads all of the
        parameter, or the first where none does.
        """
        using: dict[str, list[int]] = {}
        large = {name for name, size in self.param_bytes.items() if size >= SMALL_WEIGHT_BYTES}
        for number, pair in enumerate(self.pairs):
            for name in {n for op in pair.ops if op for n in op.params} & large:
                using.setdefault(name, []).append(number)
        return {name: self._owner_first(name, found) for name, found in using.items() if len(found) > 1}

    @cached_property
    def owners(self) -> dict[str, str]:
        """Returns for each large parameter that more than one op uses the name of its owner."""
        return {name: self.pairs[users[0]].name for name, users in self.users.items()}

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """Returns a number for each pair, equal for pairs whose variants depend on equal numbers in every mode."""
        numbers: dict[Hashable, int] = {}
        return tuple(numbers.setdefault(self._class_of(pair), len(numbers)) for pair in self.pairs)

    @cached_property
    def kinds_of_classes(self) -> Mapping[Hashable, Kind]:
        """Returns the kinds of classes (see ``kinds_of``)."""
        return self.kinds_of(self.classes)

    def kinds_of(self, forms: Sequence[Hashable]) -> Mapping[Hashable, Kind]:
        """Returns the kind of each form, given those of all pairs.

        Attentions come first, so that all modes number alike what these load.
        """
        first: dict[Hashable, int] = {}
        for number, form in enumerate(forms):
            first.setdefault(form, number)
        found: dict[Hashable, Kind] = {}
        for form, number in first.items():
            ops = [op for op in self.pairs[number].ops if op]
            shared = any(n in self.owners for op in ops for n in op.params)
            found[form] = Kind(number, any(op.attention for op in ops), shared)
        return dict(sorted(found.items(), key=lambda item: not item[1].attends))

    @cached_property
    def num_layers(self) -> int:
        """Returns the number of attentions."""
        return sum(op.attention is not None for op in self.graphs[-1].ops)

    @cached_property
    def other_ops(self) -> tuple[tuple[Op, int], ...]:
        """Returns the ops of a decode that are no attentions, each with the number of its class, in execution order."""
        number = {pair.name: n for pair, n in zip(self.pairs, self.classes, strict=True)}
        return tuple((op, number[op.name]) for op in self.graphs[-1].ops if op.attention is None)

    @cached_property
    def ops_of_layers(self) -> tuple[tuple[Op, int], ...]:
        """Returns those of them that come as often as attentions."""
        name = {pair.name: folded for pair, folded in zip(self.pairs, self.names, strict=True)}
        alike = Counter(name[op.name] for op in self.graphs[-1].ops)
        return tuple((op, n) for op, n in self.other_ops if alike[name[op.name]] == self.num_layers)

    @cached_property
    def weights_of_a_layer(self) -> float:
        """Returns the bytes of the large weights between one attention and the next."""
        sizes = [sum(self.param_bytes.get(n, 0) for n in op.params) for op, _ in self.ops_of_layers]
        return sum(size for size in sizes if size >= SMALL_WEIGHT_BYTES) / max(1, self.num_layers)

    def _class_of(self, pair: PairedOp) -> Hashable:
        return tuple(op and self._demand(pair, op) for op in pair.ops)

    def _demand(self, pair: PairedOp, op: Op) -> Hashable:
        sizes, parallel = self.param_bytes, self.graphs[-1].parallel
        params = tuple(
            (sizes[n], parallel is not None and parallel.is_whole(n), n in op.gathered)
            if n in sizes
            else None
            for n in op.params
        )
        shared = tuple((n, self.owners[n] == pair.name) for n in op.params if n in self.owners)
        states = () if op.attention else op.states
        a = op.attention
        heads = a and (a.num_heads, a.num_kv_heads, a.head_size, a.cache_dtype, a.sparsity, a.window)
        return op.work, op.remakes, op.collectives, op.repeated, op.dtype, params, shared, states, heads

    def _owner_first(self, name: str, found: Sequence[int]) -> tuple[int, ...]:
        whole = [n for n in found if not any(op and name in op.gathered for op in self.pairs[n].ops)]
        owner = whole[-1] if whole else found[0]
        return (owner, *(n for n in found if n != owner))
