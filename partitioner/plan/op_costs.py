"""What ops cost on any tier with everything that has to move for them.

Costs follow the solver's account: the op's own time, the weights or the cache it has to stream, and the values that cross to
it and from it, one after the other, with the launches that a change of device brings. A value that crosses anyway for another
reader is counted for each. An attention that several tiers share takes as long as the slowest of them, operands and output on
their way included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from cost_models import Cost, sequential
from partitioner.ir.op import Attention, Op
from partitioner.jaxpr import Var, num_bytes
from partitioner.passes.set_sparsity import sparsity_by_op
from partitioner.plan.decisions import SPLIT
from partitioner.plan.parts import Part, parts_of, slowest
from partitioner.sparsity import SparF
from partitioner.stack_costs import layer_s

if TYPE_CHECKING:
    from partitioner.plan.plan import Plan


@dataclass(frozen=True, eq=False)
class OpCosts:
    """Answers what single executions of a phase's ops cost, all other ops staying where they are.

    Attributes:
        plan: The plan.
        phase: ``prefill`` or ``decode``.
        context_len: Tokens attended over in a decode step.
    """

    plan: Plan
    phase: str
    context_len: int

    def alone(self, op: Op) -> Cost:
        """Returns the time of an op where it runs, moves left aside."""
        return self.run(op, self.tier(op))

    def here(self, op: Op) -> Cost:
        """Returns the time of an op where it runs, with what moves for it."""
        return self.at(op, self.tier(op), self.home(op))

    def at(self, op: Op, tier: str, home: str) -> Cost:
        """Returns the time of an op on a tier, its weights or cache living on another or the same.

        On ``split``, an attention is shared as the plan has it.
        """
        if tier == SPLIT:
            together = slowest([part.in_all for part in self.parts(op)])
            resumes = Cost(self.plan.costing.launch_s("gpu"), "overhead")
            return sequential([together, resumes, *self._stack_cost(op), *self._value_moves(op, "gpu")])
        costs = [self.run(op, tier), *self._stack_cost(op), *self._value_moves(op, tier)]
        if op.attention is None:
            if home not in ("-", tier):
                costs.append(self._transfer(self.weight_bytes(op), home, tier))
        elif self.phase == "decode" and tier not in {home, "csd"}:
            costs += self._cache_moves(op.attention, home, tier)
        return sequential(costs)

    def tier(self, op: Op) -> str:
        """Returns where an op runs; ``split`` for an attention that runs in shares."""
        return self.plan.decisions.ops[op.name].tier(self.phase)

    def parts(self, op: Op) -> tuple[Part, ...]:
        """Returns the parts of an attention that runs in shares, by tier; of any other op none."""
        if op.attention is None or self.tier(op) != SPLIT:
            return ()
        return parts_of(self.plan.costing, op.attention, self.plan.caches[op.name], self.context_len)

    def runs_wholly_on(self, op: Op, tier: str) -> bool:
        """Tells whether a tier does all of an op."""
        return {part.tier for part in self.parts(op)} == {tier} or self.tier(op) == tier

    def home(self, op: Op) -> str:
        """Returns where an op's large weights or cache live; "-" if it has neither."""
        return self.plan.decisions.ops[op.name].home

    def weight_bytes(self, op: Op) -> float:
        """Returns the bytes of the parameters an op reads."""
        return float(sum(self.param_bytes.get(n, 0) for n in op.params))

    @cached_property
    def param_bytes(self) -> Mapping[str, int]:
        """Maps the names of parameters to their bytes."""
        inputs = self.plan.phase(self.phase).graph.phase.inputs
        return {i.name: num_bytes(i.var) for i in inputs if i.role == "param"}

    def run(self, op: Op, tier: str) -> Cost:
        """Returns the time of an op on a tier, moves left aside."""
        if tier == SPLIT:
            return slowest([part.alone for part in self.parts(op)])
        if tier == "csd" and op.attention is not None:
            return self.plan.costing.attend_cost(self.on_drives(op), self.context_len)
        return self.plan.costing.run_cost(op, tier)

    def on_drives(self, op: Op) -> Attention:
        """Returns an attention as drives would do it: as sparsely as the workload asks, wherever it runs now."""
        assert op.attention is not None
        return replace(op.attention, sparsity=self._sparsities.get(op.name))

    @cached_property
    def _sparsities(self) -> Mapping[str, SparF | None]:
        return sparsity_by_op(self.plan.decode.graph, self.plan.workload.sparsity)

    def _stack_cost(self, op: Op) -> list[Cost]:
        seconds = layer_s(self.plan.costing, op, self.phase)
        return [Cost(seconds, "overhead")] if seconds else []

    def _cache_moves(self, attention: Attention, home: str, tier: str) -> list[Cost]:
        """Returns the stream of a cache to where it is used, and the way back of what is new."""
        costing, cached = self.plan.costing, self.context_len - 1
        fetched = costing.fetch_s(attention, cached, home, tier)
        stream_s = fetched.seconds + costing.links.latency_s(home, tier)
        back_s = costing.links.transfer_s(costing.kv_bytes(attention, 1), tier, home)
        return [Cost(stream_s, fetched.bound), Cost(back_s, "link")]

    def _value_moves(self, op: Op, tier: str) -> list[Cost]:
        """Returns the moves of values to an op and from it, by the tiers of its neighbours."""
        graph, costing = self.plan.phase(self.phase).graph, self.plan.costing
        arriving: dict[str, float] = {}
        for v in op.inputs:
            if v in graph.producer:
                self._add(arriving, self._anchor(graph.ops[graph.producer[v]]), tier, v)
        leaving: dict[str, float] = {}
        for v in op.outputs:
            for reader in {self._anchor(graph.ops[c]) for c in graph.consumers.get(v, ())}:
                self._add(leaving, reader, tier, v)
        costs = [self._transfer(amount, src, tier) for src, amount in arriving.items()]
        costs += [self._transfer(amount, tier, dst) for dst, amount in leaving.items()]
        launched = [tier] * bool(arriving) + list(leaving)
        return costs + [Cost(costing.launch_s(t), "overhead") for t in launched]

    def _anchor(self, op: Op) -> str:
        """Returns the tier that values come to for an op, and come from."""
        return self.plan.decisions.ops[op.name].anchor(self.phase)

    def _add(self, amounts: dict[str, float], other: str, tier: str, var: Var) -> None:
        if other != tier:
            amounts[other] = amounts.get(other, 0.0) + num_bytes(var)

    def _transfer(self, amount: float, src: str, dst: str) -> Cost:
        costing = self.plan.costing
        return Cost(costing.links.transfer_s(amount, src, dst) + costing.links.latency_s(src, dst), "link")
