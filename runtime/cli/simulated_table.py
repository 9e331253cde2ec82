"""A simulated generation beside the predicted one."""

from __future__ import annotations

from typing import Any

from partitioner import Plan
from partitioner.plan.report.predicted_use import predicted_busy, predicted_bytes
from runtime.bench_table import align
from runtime.bench_usage import usage_of
from runtime.cli.usage_table import usage_table
from runtime.simulation.simulated_run import SimulatedRun


def simulated_table(plan: Plan, run: SimulatedRun) -> str:
    """Returns times and use of resources, predicted and simulated."""
    pairs = (
        ("prefill s", plan.prefill_seconds, run.prefill_s),
        ("decode s", plan.total_decode_seconds, run.decode_s),
        ("tokens/s", plan.tokens_per_second, run.tokens_per_second),
    )
    rows = [("", "predicted", "simulated", "difference")]
    for name, predicted, simulated in pairs:
        difference = f"{simulated / predicted - 1:+.1%}" if predicted else "-"
        rows.append((name, f"{predicted:.4g}", f"{simulated:.4g}", difference))
    steps = f"simulated page by page, without values; {run.num_steps} decode steps one by one, the others between them"
    usages = (
        usage_of(busy, num_bytes, {})
        for busy, num_bytes in (
            (predicted_busy(plan), predicted_bytes(plan)),
            (run.busy_s, run.num_bytes),
        )
    )
    return "\n".join(["SIMULATION", steps, *align(rows), "", usage_table(*usages, found="simulated")])


def simulated_data(plan: Plan, run: SimulatedRun) -> dict[str, Any]:
    """Returns a plan's plain data with what its simulation says."""
    return {**plan.to_dict(), "simulated": run.to_dict()}
