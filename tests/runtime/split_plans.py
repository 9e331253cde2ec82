"""Plans in which GPU, host and drives share an attention, and such whose decode runs in micro-batches, made by hand."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from partitioner import Plan, Workload
from partitioner.jaxpr import Var
from partitioner.plan.phase_plan import PhasePlan
from partitioner.plan.steps import Move, Run, Share, Step

Rectangle = tuple[str, tuple[int, int], tuple[int, int]]
"""Device, rows, KV heads."""


class MicroBatchedPlan(Plan):
    """A plan whose decode runs in two micro-batches."""

    micro_batches = 2


def in_two_micro_batches(plan: Plan) -> Plan:
    """Takes a plan for one micro-batch as one for two."""
    fields = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)}
    one: Workload = plan.workload
    fields["workload"] = dataclasses.replace(one, batch_size=2 * one.batch_size)
    return MicroBatchedPlan(**fields)


def split_plan(plan: Plan, layers: Sequence[Sequence[Rectangle]]) -> Plan:
    """Gives every attention of an ``instinfer`` plan the shares of its layer, in place of those on drives."""
    total = plan.workload.batch_size * next(
        o.attention.num_kv_heads for o in plan.ops("decode") if o.attention
    )
    caches = {
        op: tuple(Share(d, r, k, (r[1] - r[0]) * (k[1] - k[0]) / total) for d, r, k in rectangles)
        for op, rectangles in zip(plan.caches, layers, strict=True)
    }
    assert plan.prefill is not None
    segments = tuple(
        dataclasses.replace(s, device="split") if s.attention else s for s in plan.decode.segments
    )
    decode = dataclasses.replace(
        plan.decode, segments=segments, steps=_Rewriter(plan, plan.decode, caches).steps()
    )
    prefill = dataclasses.replace(plan.prefill, steps=_Rewriter(plan, plan.prefill, caches).steps())
    return dataclasses.replace(plan, caches=caches, decode=decode, prefill=prefill)


class _Rewriter:
    """Copies steps, other shares in place of those of the plan."""

    def __init__(self, plan: Plan, phase: PhasePlan, caches: Mapping[str, tuple[Share, ...]]) -> None:
        self._plan, self._phase, self._caches = plan, phase, caches
        self._steps: list[Step] = []
        self._now: dict[int, tuple[int, ...]] = {}

    def steps(self) -> tuple[Step, ...]:
        done: set[str] = set()
        for step in self._phase.steps:
            op = self._op(step)
            if op is None:
                self._now[step.id] = (self._copy(step, self._after(step)),)
            elif op not in done:
                done.add(op)
                old = [s for s in self._phase.steps if self._op(s) == op]
                before = {i for s in old for i in self._after(s) if i is not None}
                arrived = (
                    self._attend(op, old, before)
                    if len(old) > 1 and any(isinstance(s, Run) for s in old)
                    else self._store(op, old, before)
                )
                self._now.update({s.id: arrived for s in old})
        return tuple(self._steps)

    def _op(self, step: Step) -> str | None:
        if isinstance(step, Run):
            return self._phase.segments[step.segment].attention
        return step.attention if step.share is not None else None

    def _after(self, step: Step) -> tuple[int, ...]:
        return tuple(sorted({n for i in step.after for n in self._now.get(i, ())}))

    def _attend(self, op: str, old: Sequence[Step], before: set[int]) -> tuple[int, ...]:
        run = next(s for s in old if isinstance(s, Run))
        attention = self._phase.op[op].attention
        assert attention is not None
        operands = (attention.query, attention.new_key, attention.new_value)
        arrived: list[int] = []
        for share in self._caches[op]:
            after = tuple(sorted(before))
            if share.device != "gpu0":
                after = (self._move("hand_over", operands, "gpu0", share.device, op, share, after),)
            self._steps.append(Run(len(self._steps), run.segment, share.device, share, after))
            end = len(self._steps) - 1
            if share.device != "gpu0":
                end = self._move("hand_over", (attention.output,), share.device, "gpu0", op, share, (end,))
            arrived.append(end)
        return tuple(arrived)

    def _store(self, op: str, old: Sequence[Step], before: set[int]) -> tuple[int, ...]:
        move = old[0]
        assert isinstance(move, Move)
        assert move.kind == "store_cache"
        after = tuple(sorted(before))
        return tuple(
            self._move("store_cache", move.values, move.src, s.device, op, s, after, move.names)
            for s in self._caches[op]
        )

    def _move(
        self, kind: Any, values: tuple[Var, ...], src: str, dst: str, op: str, share: Share,
        after: tuple[int, ...], names: tuple[str, ...] = (),
    ) -> int:  # fmt: skip
        path = self._plan.costing.links.path(src, dst) if src != dst else "local"
        self._steps.append(Move(len(self._steps), kind, values, names, src, dst, path, 0, op, share, after))
        return len(self._steps) - 1

    def _copy(self, step: Step, after: tuple[int, ...]) -> int:
        self._steps.append(dataclasses.replace(step, id=len(self._steps), after=after))
        return len(self._steps) - 1
