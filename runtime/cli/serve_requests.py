"""Serves a file of requests, and prints what came of each as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import typer

from partitioner import Plan
from runtime import Completed, Request, Session
from runtime.bench_table import align
from runtime.serving_totals import ServingTotals

_MOST_SLOTS = 8


def num_slots(requests: Sequence[Request], slots: int | None) -> int:
    """Returns the rows to plan for: those asked for, else at most 8."""
    return slots or min(_MOST_SLOTS, len(requests))


def serve_requests(session: Session, plan: Plan, requests: Sequence[Request], *, as_json: bool) -> None:
    """Prints texts as requests end, then times of each and of all; or all of it as JSON."""
    serving = session.serve(requests)
    completed: list[Completed] = []
    for one in serving:
        completed.append(one)
        if not as_json:
            typer.echo(f"--- request {one.number}\n{one.request.prompt}{one.text}")
    completed.sort(key=lambda one: one.number)
    totals = serving.totals
    if as_json:
        typer.echo(json.dumps(_as_dict(plan, completed, totals), indent=2))
    else:
        typer.echo("---\n" + "\n".join((*_table(completed), "", *_summary(plan, totals))))


def _table(completed: Sequence[Completed]) -> list[str]:
    rows = [
        (
            str(one.number),
            str(one.timings.num_tokens),
            one.reason,
            f"{one.timings.begin_s:.3f}",
            f"{one.timings.time_to_first_token_s:.3f}",
            f"{one.timings.tokens_per_second:.1f}",
        )
        for one in completed
    ]
    return align([("request", "new tokens", "ended by", "began s", "first token after s", "tokens/s"), *rows])


def _summary(plan: Plan, totals: ServingTotals) -> list[str]:
    return [
        f"{plan.policy} on {plan.hw.name}: {totals.num_requests} requests, {totals.num_tokens} new tokens in "
        f"{totals.total_s:.3f} s",
        f"{totals.tokens_per_second:.1f} tokens/s; {totals.num_slots} slots, in use {totals.slot_utilisation:.0%} of the time; "
        f"fidelity {totals.fidelity:.3f}",
        *(str(recovery) for recovery in totals.recoveries),
    ]


def _as_dict(plan: Plan, completed: Sequence[Completed], totals: ServingTotals) -> dict[str, object]:
    return {
        "policy": plan.policy,
        "hardware": plan.hw.name,
        "requests": [
            {
                "prompt": one.request.prompt,
                "text": one.text,
                "tokens": one.tokens,
                "reason": one.reason,
                "begin_s": one.timings.begin_s,
                "time_to_first_token_s": one.timings.time_to_first_token_s,
                "end_s": one.timings.end_s,
                "tokens_per_second": one.timings.tokens_per_second,
            }
            for one in completed
        ],
        "total_s": totals.total_s,
        "tokens_per_second": totals.tokens_per_second,
        "slots": totals.num_slots,
        "slot_utilisation": totals.slot_utilisation,
        "busy_s": dict(totals.busy_s),
        "fidelity": totals.fidelity,
        "recoveries": [asdict(recovery) for recovery in totals.recoveries],
    }
