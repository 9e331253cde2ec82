"""The numbers that several sections show, each worked out once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from cost_models import Cost, sequential
from partitioner.ir.op import Op
from partitioner.plan.alternatives import Alternatives
from partitioner.plan.decisions import SPLIT
from partitioner.plan.names import class_name, folded
from partitioner.plan.plan import Plan
from partitioner.plan.report.predicted_use import weighted_timelines
from partitioner.plan.steps import Run
from partitioner.plan.timeline import Timeline
from partitioner.split_grid import Split


@dataclass(frozen=True)
class OpClass:
    """Holds ops of one phase that differ in their layer numbers alone, and run and keep their data on the same tiers.

    Attributes:
        name: For people.
        ops: In execution order.
        tier: Where they run; ``split`` for attentions that several tiers share.
        home: Where their large weights or caches live; "-" for none.
        split: How they are shared, if they are.
        newest: Newest tokens that host memory keeps of what drives have of them.
    """

    name: str
    ops: tuple[Op, ...]
    tier: str
    home: str
    split: Split = ()
    newest: int = 0

    @property
    def is_shared(self) -> bool:
        """Tells whether several tiers have a part of each of its ops."""
        return len(self.split) > 1 or self.newest > 0


@dataclass(frozen=True, eq=False)
class Figures:
    """Answers what sections need to know of a plan.

    Attributes:
        plan: The plan.
        measured: Timeline of a run of the same workload, or None.
    """

    plan: Plan
    measured: Timeline | None = None

    @cached_property
    def phases(self) -> tuple[str, ...]:
        """Names the phases that occur, decode first: it is what most time goes into."""
        if self.plan.prefill is None:
            return ("decode",)
        return ("decode", "prefill") if self.plan.total_decode_seconds else ("prefill",)

    @cached_property
    def contexts(self) -> tuple[int, int, int]:
        """Holds the tokens attended over in the first, the middle and the last decode step."""
        first = self.plan.workload.prompt_len + 1 if self.plan.prefill else 1
        last = max(first, self.plan.workload.max_len - 1)
        return first, min(max(self.plan.middle_context, first), last), last

    @cached_property
    def weighted(self) -> tuple[tuple[Timeline, float], ...]:
        """Holds timelines and how often each occurs: the prefill first, if there is one, then decode steps."""
        return weighted_timelines(self.plan)

    @cached_property
    def step(self) -> Timeline:
        """Holds the predicted timeline of the middle decode step."""
        return self.plan.predicted_timeline("decode", self.contexts[1])

    @property
    def prefill(self) -> Timeline | None:
        """Holds the predicted timeline of the prefill, if there is one."""
        return self.weighted[0][0] if self.plan.prefill else None

    def timeline(self, phase: str) -> Timeline:
        """Returns the timeline of the prefill, or of the middle decode step."""
        return self.step if phase == "decode" else self.prefill or Timeline(())

    @property
    def slices(self) -> int:
        """Counts the runs of the prefill graph that the whole batch takes."""
        return self.plan.workload.batch_size // self.plan.prefill.rows if self.plan.prefill else 0

    def times(self, phase: str) -> int:
        """Counts the runs of a phase's graph in what :meth:`timeline` covers: slices of a prefill, or micro-batches."""
        return self.slices if phase == "prefill" else self.plan.micro_batches

    @cached_property
    def alternatives(self) -> Mapping[str, Alternatives]:
        """Maps phases to what their ops cost where they are, and elsewhere."""
        return {p: Alternatives.of_phase(self.plan, p, self.contexts[1]) for p in self.phases}

    def classes(self, phase: str) -> tuple[OpClass, ...]:
        """Returns the classes of a phase's ops, in order of their first op; those of the same name follow each other."""
        groups: dict[str, dict[tuple[str, str, Split, int], list[Op]]] = {}
        for op in self.plan.ops(phase):
            decision = self.plan.decisions.ops[op.name]
            ways = groups.setdefault(folded(op.name), {})
            tier = decision.tier(phase)
            split = decision.split if tier == SPLIT else ()
            ways.setdefault((tier, decision.home, split, decision.newest if split else 0), []).append(op)
        return tuple(
            OpClass(class_name([op.name for op in ops], sum(map(len, ways.values()))), tuple(ops), *way)
            for ways in groups.values()
            for way, ops in ways.items()
        )

    def context(self, phase: str) -> int:
        """Returns the tokens attended over in the middle decode step, or the tokens of a prompt."""
        return self.plan.workload.prompt_len if phase == "prefill" else self.contexts[1]

    def bound_on(self, device: str, phase: str) -> str:
        """Returns what most of a device's time goes into: ``compute``, ``memory``, ``flash`` or ``overhead``."""
        found = self.plan.phase(phase)
        costs = self.plan.step_costs(phase)
        runs: Sequence[Cost] = [
            costs.run_cost(s, self.contexts[1])
            for s in found.steps
            if isinstance(s, Run) and s.device == device
        ]
        return sequential(runs).bound if runs else "flash"
