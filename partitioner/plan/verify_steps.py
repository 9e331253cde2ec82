"""Checks the steps of one phase in their order: every read finds its value, and everything is done by the end."""

from __future__ import annotations

from cost_models import path_kinds
from partitioner.errors import PlanError
from partitioner.ir.op import Attention, Op
from partitioner.jaxpr import Var
from partitioner.plan.decisions import SPLIT
from partitioner.plan.phase_plan import PhasePlan
from partitioner.plan.plan import Plan
from partitioner.plan.segment_ops import streams_cache
from partitioner.plan.share_operands import share_operands
from partitioner.plan.steps import Move, Run, Segment, Share, Step


def verify_steps(plan: Plan, phase: PhasePlan) -> None:
    """Follows a phase's steps and checks what each of them reads.

    Raises:
        PlanError: With the phase, the step and the rule it breaks.
    """
    _Walk(plan, phase).verify()


class _Walk:
    """Follows the steps in order and checks that each finds what it reads, and waits for what made it.

    Sets of steps are bit masks: step i is bit i.
    """

    def __init__(self, plan: Plan, phase: PhasePlan) -> None:
        self._plan, self._phase = plan, phase
        self._name = phase.graph.phase.name
        self._reach: list[int] = []
        self._made: dict[tuple[Var, str], int] = {}
        self._streamed: dict[tuple[str, str], int] = {}
        self._parts: dict[str, dict[str, list[Share]]] = {}
        self._donated: set[Var] = set()
        self._attended: dict[tuple[str, Share], int] = {}

    def verify(self) -> None:
        """Checks all steps, and that everything was done by the last."""
        for step in self._phase.steps:
            reach = 0
            for i in step.after:
                reach |= 1 << i | self._reach[i]
            self._reach.append(reach)
            if isinstance(step, Move):
                self._check_move(step, reach)
            else:
                self._check_run(step, reach)
        self._check_results()

    def _check_run(self, step: Run, reach: int) -> None:
        segment = self._phase.segments[step.segment]
        if segment.attention is not None:
            self._check_command(step, segment, reach)
        else:
            if step.device != segment.device:
                raise self._error(
                    f"{segment.name!r} is planned for {segment.device} and run on {step.device}"
                )
            for v in segment.inputs:
                self._check_input(segment, v, reach)
            for name in segment.ops:
                self._check_cache(self._phase.op[name], step.device, reach)
            self._donated.update(segment.donated)
        for v in segment.outputs:
            self._make(v, step.device, step)

    def _check_input(self, segment: Segment, v: Var, reach: int) -> None:
        device = segment.device
        described = self._phase.graph.input_of.get(v)
        if described is None:
            if not self._is_there(v, device, reach):
                raise self._error(f"{segment.name!r} reads a value that is not on {device} by then")
            return
        if v in self._donated:
            raise self._error(f"{segment.name!r} reads {described.name!r} after its buffer was given away")
        if described.role == "param" and device not in self._kept_on(described.name):
            arrived = self._streamed.get((described.name, device), 0)
            if not arrived or arrived & ~reach:
                raise self._error(
                    f"{segment.name!r} reads {described.name!r}, which lives on {', '.join(self._kept_on(described.name))} "
                    f"and is not streamed to {device} by then"
                )

    def _check_cache(self, op: Op, device: str, reach: int) -> None:
        """Checks that the cache of an attention on a processor is there, or has arrived from all its shares."""
        if op.attention is None or self._name != "decode":
            return
        shares = self._plan.caches[op.name]
        if not streams_cache(op, self._plan.decisions.ops[op.name], "decode"):
            if any(s.device != device for s in shares):
                raise self._error(f"{op.name!r} runs on {device} and its cache lives elsewhere")
            return
        arrived = self._streamed.get((op.attention.key_cache, device), 0)
        if not arrived or arrived & ~reach or not self._all_parts("stream_cache", op.name):
            raise self._error(
                f"{op.name!r} runs on {device}, and not all of its cache is streamed there by then"
            )

    def _check_command(self, step: Run, segment: Segment, reach: int) -> None:
        """Checks that a drive has its share of an attention's cache and operands."""
        name = segment.ops[0]
        attention = self._attention(name)
        if (
            step.share is None
            or step.share.device != step.device
            or step.share not in self._plan.caches[name]
        ):
            raise self._error(f"{name!r} runs on {step.device}, which holds no such share of its cache")
        for v in share_operands(attention, step.share):
            if not self._is_there(v, step.device, reach):
                raise self._error(f"{name!r} lacks q, k or v on {step.device} by then")
        self._count_part("run", name, step.share)
        self._attended[name, step.share] = step.id

    def _check_move(self, step: Move, reach: int) -> None:
        expected = path_kinds(self._plan.hw, step.src, step.dst) or ("local",)
        if step.path not in expected:
            raise self._error(
                f"move {step.id} takes the path {step.path!r} from {step.src} to {step.dst}; there is {' and '.join(expected)}"
            )
        for v in step.values:
            if not self._is_there(v, step.src, reach):
                raise self._error(
                    f"move {step.id} ({step.kind}) takes a value from {step.src} that is not there by then"
                )
        if step.kind == "stream_weights":
            strange = [n for n in step.names if step.src not in self._kept_on(n)]
            if strange:
                raise self._error(
                    f"move {step.id} streams {strange[0]!r} from {step.src}, which does not keep it"
                )
        elif step.kind == "hand_over":
            for v in step.values:
                self._make(v, step.dst, step)
        else:
            self._check_cache_move(step, reach)
        if step.kind in ("stream_weights", "stream_cache"):
            for n in step.names:
                self._streamed[n, step.dst] = self._streamed.get((n, step.dst), 0) | 1 << step.id

    def _check_page_out(self, step: Move, share: Share, name: str, reach: int) -> None:
        """Checks that tokens leave a window for older ones of the same rows, once both have attended."""
        windows = [s for s in self._plan.caches[name] if s.cut is not None and s.cut.side == "newest"]
        if share.cut is None or share.cut.side != "older" or [s.device for s in windows] != [step.src]:
            raise self._error(
                f"move {step.id} takes tokens of {name!r} out of a window on {step.src} to {step.dst}, which are not the "
                "two parts of one cache"
            )
        attending = [self._attended.get((name, s)) for s in (share, *windows)]
        if any(run is None or not reach >> run & 1 for run in attending):
            raise self._error(
                f"move {step.id} takes tokens of {name!r} to {step.dst} before all who read them there or on {step.src} are "
                "done"
            )

    def _check_cache_move(self, step: Move, reach: int) -> None:
        share, name = step.share, step.attention or ""
        holder = step.src if step.kind == "stream_cache" else step.dst
        if share is None or share not in self._plan.caches.get(name, ()) or share.device != holder:
            raise self._error(
                f"move {step.id} ({step.kind}) names no share of the cache of {name!r} on {holder}"
            )
        if step.kind == "page_out":
            self._check_page_out(step, share, name, reach)
        self._count_part(step.kind, name, share)

    def _check_results(self) -> None:
        """Checks that every share of a cache was kept up to date, and every output made."""
        for op in self._phase.graph.ops:
            if op.attention is None:
                continue
            decision = self._plan.decisions.ops[op.name]
            if self._name == "prefill" and not self._all_parts("store_cache", op.name):
                raise self._error(f"not all of the K and V of {op.name!r} are stored where its cache lives")
            appends = streams_cache(op, decision, self._name)
            appends |= self._name == "decode" and op.attention.source is not None
            if appends and not self._all_parts("append_cache", op.name):
                raise self._error(f"the new k and v of {op.name!r} do not reach all of its cache")
            if self._name == "decode" and not self._all_pages_leave(op.name):
                raise self._error(
                    f"the window of {op.name!r} fills, and its tokens do not leave for every drive"
                )
            if decision.tier(self._name) in ("csd", SPLIT) and not self._all_parts("run", op.name):
                raise self._error(f"not every device that holds a share of {op.name!r} attends")
        made = {v for v, _ in self._made}
        for v, described in self._phase.graph.output_of.items():
            if described.role == "logits" and v in self._phase.graph.producer and v not in made:
                raise self._error("no segment gives the logits")

    def _make(self, v: Var, device: str, step: Step) -> None:
        self._made[v, device] = self._made.get((v, device), 0) | 1 << step.id

    def _is_there(self, v: Var, device: str, reach: int) -> bool:
        """Tells whether all parts of a value are on a device, and waited for."""
        makers = self._made.get((v, device), 0)
        return bool(makers) and not makers & ~reach

    def _count_part(self, kind: str, op: str, share: Share) -> None:
        self._parts.setdefault(kind, {}).setdefault(op, []).append(share)

    def _all_parts(self, kind: str, op: str) -> bool:
        """Tells whether something was done exactly once for each share of a cache."""
        done = self._parts.get(kind, {}).get(op, [])
        return sorted(s.device for s in done) == sorted(s.device for s in self._plan.caches[op])

    def _all_pages_leave(self, op: str) -> bool:
        """Tells whether tokens leave a window, if there is one, exactly once for each share of older ones."""
        older = [s for s in self._plan.caches[op] if s.cut is not None and s.cut.side == "older"]
        done = self._parts.get("page_out", {}).get(op, [])
        return sorted(s.device for s in done) == sorted(s.device for s in older)

    def _kept_on(self, name: str) -> tuple[str, ...]:
        return (self._plan.homes[name], *self._plan.copies.get(name, ()))

    def _attention(self, name: str) -> Attention:
        attention = self._phase.op[name].attention
        if attention is None:
            raise self._error(f"{name!r} is a command and no attention")
        return attention

    def _error(self, text: str) -> PlanError:
        return PlanError(f"{self._name}: {text}")
