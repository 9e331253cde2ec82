"""Simulates a generation under a plan."""

from __future__ import annotations

from partitioner.ir.op import Attention
from partitioner.plan.plan import Plan
from runtime.errors import SessionError
from runtime.installed_plan import check_plan
from runtime.simulation.context_sums import Seams, sum_decode, sum_steps
from runtime.simulation.counted_system import CountedSystem
from runtime.simulation.prefill_slices import sum_prefill
from runtime.simulation.simulated_run import SimulatedRun
from runtime.simulation.use_log import Use
from runtime.simulation.windows import DecodeWindows


def simulate(plan: Plan, *, context_len: int | None = None, every_step: bool = False) -> SimulatedRun:
    """Simulates the whole generation of a plan: its steps on busy-until resources, without values or weights.

    Args:
        plan: Any plan; the model may be abstract.
        context_len: Tokens of each sequence after the decode step whose timeline is wanted, by default in the middle.
        every_step: Whether to simulate every step and slice instead of a sample.

    Raises:
        SessionError: The plan is only predicted, its hardware has the software of a published system, a drive cannot hold what
            the plan gives it, or ``context_len`` is not one of the generation.
    """
    check_plan(plan)
    if plan.hw.software is not None:
        raise SessionError(
            f"{plan.hw.name} has a [software] table, and a simulation knows hardware alone; give hardware without it, such as "
            "the preset 'a6000-csd'"
        )
    load = plan.workload
    first = 1 if plan.prefill is None else load.prompt_len + 1
    context_len = plan.middle_context if context_len is None else context_len
    if not 1 <= context_len <= load.max_len:
        raise SessionError(
            f"context_len is {context_len}, and sequences grow to {load.max_len} tokens; give 1 to {load.max_len}"
        )
    system, use, prefill_s = CountedSystem(plan), Use(), 0.0
    if plan.prefill is not None:
        prefill = sum_prefill(plan, system, load.prompt_len, every_slice=every_step)
        prefill_s = prefill.seconds
        use.add_all(prefill.use, 1.0)
    windows = DecodeWindows(plan, system, prefill_s)
    if every_step:
        decode = sum_steps((step, 1.0) for step in windows.run(range(first, load.max_len)).values())
    else:
        seams = Seams(system.page_tokens, system.copy_tokens, _changes_from(plan, first))
        decode = sum_decode(windows, first, load.max_len - 1, seams)
    use.add_all(decode.use, 1.0)
    num_steps = windows.num_steps
    return SimulatedRun(
        prefill_s=prefill_s,
        decode_s=decode.seconds,
        num_tokens=load.batch_size * load.decode_len,
        busy_s=use.busy_s,
        num_bytes=use.num_bytes,
        num_steps=num_steps,
        context_len=context_len,
        timeline=windows.timeline(context_len),
    )


def _changes_from(plan: Plan, first: int) -> tuple[int, ...]:
    """Returns the lengths, beyond the first, from which on attentions of the plan are sparse, or tokens leave windows."""
    attentions = [op.attention for op in plan.decode.graph.ops if op.attention is not None]
    kinds = {(a.sparsity, a.window): a for a in attentions if a.sparsity is not None}
    lengths = range(first, plan.workload.max_len + 1)
    begins = {next((n for n in lengths if _is_sparse(a, n)), first) for a in kinds.values()}
    cuts = [s.cut for shares in plan.caches.values() for s in shares if s.cut is not None]
    begins |= {cut.room for cut in cuts if first < cut.room < plan.workload.max_len}
    return tuple(sorted(begins - {first}))


def _is_sparse(attention: Attention, length: int) -> bool:
    seen = attention.tokens_seen(length)
    return attention.sparsity is not None and attention.sparsity.tokens(seen) < seen
