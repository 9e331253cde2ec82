"""The plan: everything the runtime needs to execute, and everything a person needs to understand why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cost_models import HardwareSpec
from partitioner.accuracy.choose_sparsity import AccuracyChoice
from partitioner.costing import Costing
from partitioner.errors import PlanError
from partitioner.ir.op import Attention, Op
from partitioner.objective import OBJECTIVES, Objective
from partitioner.placement.policies import POLICIES
from partitioner.plan.decisions import SPLIT, Decisions
from partitioner.plan.phase_plan import PhasePlan
from partitioner.plan.predict import schedule, schedule_end_s
from partitioner.plan.predict_streams import schedule_streams
from partitioner.plan.step_costs import StepCosts
from partitioner.plan.step_demands import StepDemands
from partitioner.plan.steps import Move, Share
from partitioner.plan.timeline import Timeline
from partitioner.shares import attended_fraction
from partitioner.workload import Workload

if TYPE_CHECKING:
    from partitioner.plan.endurance import Endurance
    from partitioner.plan.explanation import Explanation
    from partitioner.plan.plan_diff import PlanDiff


@dataclass(frozen=True, eq=False)
class Plan:
    """Says where every op runs and every tensor lives, with predicted time and a certificate.

    Attributes:
        model_name: What was planned.
        fingerprint: Hash of the traced jaxprs; a saved plan fits only a model with the same one.
        hw: The hardware it was planned for.
        workload: What it generates.
        policy: The constraint set it was found under.
        prefill: The prompt phase; None for models that take one token a step, whose prompts go through ``decode``.
        decode: One step of generation.
        homes: Device of every parameter, by name; a small one used on several devices has its copies in ``copies``.
        copies: Further devices that keep a parameter, by name.
        caches: Shares of the K and V cache of every attention, by op name; the longest context is reserved.
        decisions: What the solver decided, and proved.
        accuracy: What an accuracy budget chose; None where none was given.
    """

    model_name: str
    fingerprint: str
    hw: HardwareSpec
    workload: Workload
    policy: str
    prefill: PhasePlan | None
    decode: PhasePlan
    homes: Mapping[str, str]
    copies: Mapping[str, tuple[str, ...]]
    caches: Mapping[str, tuple[Share, ...]]
    decisions: Decisions
    accuracy: AccuracyChoice | None = None

    def phase(self, name: str) -> PhasePlan:
        """Returns a phase by name.

        Raises:
            PlanError: If the plan has no such phase.
        """
        found = {"prefill": self.prefill, "decode": self.decode}.get(name)
        if found is None:
            has = "prefill and decode" if self.prefill else "decode"
            raise PlanError(f"this plan has no phase {name!r}; it has {has}")
        return found

    def ops(self, phase: str) -> tuple[Op, ...]:
        """Returns a phase's ops in execution order."""
        return self.phase(phase).graph.ops

    def device_of(self, phase: str, op: str) -> dict[str, float]:
        """Returns the devices that run an op with their shares, which sum to 1.

        An attention is shared in its rows, KV heads and tokens, of which those in the middle of the generation count.

        Raises:
            PlanError: If there is no such op; the message names close ones.
        """
        ops = self.phase(phase).op
        if op not in ops:
            near = [n for n in ops if op.rpartition(".")[2] in n][:4] or list(ops)[:4]
            raise PlanError(f"{phase} has no op {op!r}; there are {len(ops)}, for example {', '.join(near)}")
        tier = self.decisions.ops[op].tier(phase)
        if tier in ("csd", SPLIT):
            return {s.device: attended_fraction(s, self.middle_context) for s in self.caches[op]}
        if tier == "gpu":
            return {f"gpu{i}": 1 / len(self.hw.gpus) for i in range(len(self.hw.gpus))}
        return {tier: 1.0}

    @cached_property
    def costing(self) -> Costing:
        """Answers what things cost under this plan's policy."""
        return POLICIES[self.policy].costing(self.hw, self.workload, len(self.caches), self.micro_batches)

    @property
    def micro_batches(self) -> int:
        """Returns the parts of the batch that decode side by side."""
        return self.decisions.micro_batches

    @property
    def predicted_only(self) -> bool:
        """Tells whether the runtime lacks what the plan's policy needs."""
        return POLICIES[self.policy].predicted_only

    def step_costs(self, phase: str) -> StepCosts:
        """Returns the predicted costs of a phase's steps."""
        return self._step_costs[phase]

    @cached_property
    def _step_costs(self) -> Mapping[str, StepCosts]:
        found = {"decode": self.decode} | ({"prefill": self.prefill} if self.prefill else {})
        return {name: StepCosts(p.graph, p.segments, self.costing) for name, p in found.items()}

    def move_bytes(self, phase: str, move: Move, context_len: int) -> float:
        """Returns the bytes a move takes across when ``context_len`` tokens are attended over."""
        return self.step_costs(phase).move_bytes(move, context_len)

    def predicted_timeline(self, phase: str, context_len: int | None = None) -> Timeline:
        """Returns the predicted timeline of a whole prefill, or of one decode step.

        Args:
            phase: ``prefill`` or ``decode``.
            context_len: Tokens attended over in a decode step, by default those in the middle of the generation; in a prefill
                the mean length of the prompts without padding, by default the longest.
        """
        found = self.phase(phase)
        if phase == "prefill":
            slices = self.workload.batch_size // found.rows
            return schedule(self._step_demands[phase], context_len or self.workload.prompt_len, slices)
        demands, context_len = self._step_demands[phase], context_len or self.middle_context
        if self.micro_batches > 1:
            return schedule_streams(demands, context_len, self.micro_batches)
        return schedule(demands, context_len)

    @cached_property
    def _step_demands(self) -> Mapping[str, StepDemands]:
        return {name: StepDemands(costs, self.phase(name).steps) for name, costs in self._step_costs.items()}

    @property
    def middle_context(self) -> int:
        """Returns the context length halfway through the generation."""
        contexts = self.workload.decode_contexts(with_prefill=self.prefill is not None, num=1)
        return contexts[0][0] if contexts else self.workload.max_len

    def decode_seconds(self, context_len: int) -> float:
        """Returns the predicted seconds of one decode step over ``context_len`` tokens, the new one included."""
        demands = self._step_demands["decode"]
        if self.micro_batches > 1:
            return schedule_streams(demands, context_len, self.micro_batches, recorded=False).end_s
        return schedule_end_s(demands, context_len)

    @cached_property
    def prefill_seconds(self) -> float:
        """Returns the predicted seconds until all prompts are processed and their caches are home."""
        if self.prefill is None:
            return 0.0
        slices = self.workload.batch_size // self.prefill.rows
        return schedule_end_s(self._step_demands["prefill"], self.workload.prompt_len, slices)

    @cached_property
    def prefill_timeline(self) -> Timeline:
        """Returns the predicted timeline of the whole prefill.

        Raises:
            PlanError: If the plan has no prefill.
        """
        return self.predicted_timeline("prefill")

    @cached_property
    def decode_timelines(self) -> tuple[tuple[Timeline, float], ...]:
        """Returns predicted timelines of decode steps over the generation, and how many steps each stands for."""
        contexts = self.workload.decode_contexts(with_prefill=self.prefill is not None)
        return tuple((self.predicted_timeline("decode", context), weight) for context, weight in contexts)

    @cached_property
    def total_decode_seconds(self) -> float:
        """Returns the predicted seconds of all decode steps."""
        contexts = self.workload.decode_contexts(with_prefill=self.prefill is not None)
        return sum(weight * self.decode_seconds(context) for context, weight in contexts)

    @property
    def total_seconds(self) -> float:
        """Returns the predicted seconds of the whole generation."""
        return self.prefill_seconds + self.total_decode_seconds

    @property
    def tokens_per_second(self) -> float:
        """Returns predicted new tokens per second over the whole generation, prefill included."""
        return self.workload.batch_size * self.workload.decode_len / self.total_seconds

    @property
    def objective(self) -> Objective:
        """Returns what the plan was made to be the best at."""
        return OBJECTIVES[self.decisions.certificate.minimised]

    @cached_property
    def latency_s(self) -> float:
        """Returns the predicted seconds of a decode step, on average over the generation; 0 where there is none."""
        contexts = self.workload.decode_contexts(with_prefill=self.prefill is not None)
        steps = sum(weight for _, weight in contexts)
        return self.total_decode_seconds / steps if steps else 0.0

    @cached_property
    def first_token_s(self) -> float:
        """Returns the predicted seconds to the first new token: the prefill, or as many decode steps as a prompt has tokens."""
        if self.prefill is not None:
            return self.prefill_seconds
        prompt = self.workload.prompt_len
        return prompt * self.decode_seconds((prompt + 1) // 2)

    @cached_property
    def joules_per_token(self) -> float | None:
        """Returns the predicted energy per new token, prefill included; None where the hardware's powers are not known."""
        from partitioner.plan.upkeep import joules_per_token

        return joules_per_token(self)

    @cached_property
    def dollars_per_million_tokens(self) -> float | None:
        """Returns the predicted US dollars of owning and powering the hardware; None where a price or power is not known."""
        from partitioner.plan.upkeep import dollars_per_million_tokens

        return dollars_per_million_tokens(self)

    def channel_group(self, attention: Attention) -> int | None:
        """Returns the head channels in a page of the second copy of K that drives keep; None where they keep none."""
        return self.costing.drive_cache(attention).channel_group

    @cached_property
    def endurance(self) -> Endurance | None:
        """Returns what is written to flash and how long the drives last; None where no KV cache lives on a drive."""
        from partitioner.plan.endurance import endurance

        return endurance(self)

    @property
    def bound(self) -> float:
        """Returns the certified lower bound on the objective, in the objective's unit."""
        return self.decisions.certificate.bound

    @property
    def gap(self) -> float:
        """Returns the relative gap between the solver's best placement, by its account, and the bound on all."""
        certificate = self.decisions.certificate
        if certificate.objective == 0:
            return 0.0
        return max(0.0, 1 - certificate.bound / certificate.objective)

    @property
    def account_excess(self) -> float:
        """Returns by what share of the solver's best placement the account of this plan's is worse.

        It is above 0 where another placement was taken because its schedule is better.
        """
        certificate = self.decisions.certificate
        return certificate.account / certificate.objective - 1 if certificate.objective else 0.0

    @property
    def schedule_excess(self) -> float | None:
        """Returns by what share of its account the predicted schedule of this plan is worse; below 0 where it is better.

        None where the hardware lacks a price or a power that the objective needs.
        """
        from partitioner.plan.predicted_value import predicted_value

        account, value = self.decisions.certificate.account, predicted_value(self, self.objective.name)
        return value / account - 1 if account and value is not None else None

    def explain(self, op: str, phase: str = "decode") -> Explanation:
        """Returns why an op runs where it runs: its cost on every device, what forbids the others, and the price of moving it.

        Args:
            op: Its name, or a folded one such as ``blocks.*.attention``.
            phase: ``prefill`` or ``decode``.

        Raises:
            PlanError: If there is no such op; the message names close ones.
        """
        from partitioner.plan.explain import explain

        return explain(self, op, phase)

    def diff(self, other: Plan) -> PlanDiff:
        """Returns what differs in another plan of the same model: settings, predictions, where ops run and data lives.

        Raises:
            PlanError: If the other is a plan of a model with different ops.
        """
        from partitioner.plan.compare import compare

        return compare(self, other)

    def resident_bytes(self) -> dict[str, dict[str, float]]:
        """Returns per device the bytes of weights, KV cache and reserve, and the capacity."""
        from partitioner.plan.residency import resident_bytes

        return resident_bytes(self)

    def report(self, measured: Timeline | None = None) -> str:
        """Returns the placement report as text of at most 100 columns.

        Args:
            measured: Timeline of a run, printed beside the prediction.
        """
        from partitioner.plan.report import render

        return render(self, measured)

    def to_dict(self) -> dict[str, Any]:
        """Returns decisions, hardware and predictions as plain data."""
        from partitioner.plan.plan_file import plan_to_dict

        return plan_to_dict(self)

    def save(self, path: str | Path) -> None:
        """Writes the plan as JSON: decisions and a fingerprint, never code. The file appears whole or not at all."""
        from partitioner.plan.plan_file import save_plan

        save_plan(self, path)

    @staticmethod
    def load(path: str | Path, model: Any) -> Plan:
        """Reads a plan and re-traces the model it was made for.

        Raises:
            PlanError: If the file is malformed, or the model is another one.
        """
        from partitioner.plan.plan_file import load_plan

        return load_plan(path, model)

    def __str__(self) -> str:
        return self.report()
