"""The printed form of the difference between two plans."""

from __future__ import annotations

from collections.abc import Mapping

from partitioner.plan.names import device_span, tier_of
from partitioner.plan.plan_diff import PlanDiff, Prediction
from partitioner.plan.report.numerals import counted, duration, significant, size
from partitioner.plan.report.shares import shares_text
from partitioner.plan.report.table import Column, paragraph, table, title
from partitioner.plan.settings import Setting

_MOST_SETTINGS = 12
"""Settings listed; systems of different kinds differ in almost all."""

_LABELS = {
    "prefill_s": "prefill",
    "decode_step_s": "decode step",
    "generation_s": "generation",
    "tokens_per_s": "tokens/s",
    "joules_per_token": "J/token",
    "usd_per_million_tokens": "USD/million tokens",
}
_SIDES = (Column("before", "left"), Column("after", "left"))


def plan_diff(diff: PlanDiff) -> list[str]:
    """Returns tables of settings, predictions, ops that run elsewhere and data that lives elsewhere."""
    before, after = diff.models
    what = f"Two plans of {before}" if before == after else f"Plans of {before} and {after}"
    lines = [*title(what), *_settings(diff), "", *_predictions(diff), ""]
    lines += _ops(diff) if diff.ops else ["  Every op runs where it did."]
    return [*lines, "", *(_data(diff) if diff.data else ["  All weights and KV caches live where they did."])]


def _settings(diff: PlanDiff) -> list[str]:
    if not diff.settings:
        return ["  Policy, workload and hardware are the same."]
    shown = diff.settings[:_MOST_SETTINGS]
    rows = [[s.key, _value(s.before), _value(s.after)] for s in shown]
    more = len(diff.settings) - len(shown)
    note = paragraph(f"and {counted(more, 'more value')} of the hardware") if more else []
    return [*table([Column("setting", "left"), *_SIDES], rows), *note]


def _value(value: Setting) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:.6g}"


def _predictions(diff: PlanDiff) -> list[str]:
    rows = [
        [_LABELS[p.name], _figure(p, p.before), _figure(p, p.after), _ratio(p)]
        for p in diff.predictions
        if p.before is not None or p.after is not None
    ]
    columns = [Column("predicted", "left"), *_SIDES, Column("after /\nbefore")]
    first, last = diff.contexts
    tokens = counted(first, "token") if first == last else f"{first} tokens before and {last} after"
    return [*table(columns, rows), *paragraph(f"A decode step attends over {tokens}.")]


def _figure(prediction: Prediction, value: float | None) -> str:
    if value is None:
        return "-"
    is_time = prediction.name.endswith("_s") and not prediction.name.endswith("_per_s")
    return duration(value) if is_time else significant(value)


def _ratio(prediction: Prediction) -> str:
    return "-" if prediction.ratio is None else significant(prediction.ratio)


def _ops(diff: PlanDiff) -> list[str]:
    rows = [
        [m.name, m.phase, str(len(m.ops)), shares_text(m.before), "->", shares_text(m.after)]
        for m in diff.ops
    ]
    columns = (
        Column("op that runs elsewhere", "left"),
        Column("phase", "left"),
        Column("count"),
        Column("before", "left"),
        Column("", "left"),
        Column("after", "left"),
    )
    return table(columns, rows)


def _data(diff: PlanDiff) -> list[str]:
    rows = [
        [
            m.name,
            m.kind,
            size(sum(m.before.values())),
            _place(m.kind, m.before),
            "->",
            size(sum(m.after.values())),
            _place(m.kind, m.after),
        ]
        for m in diff.data
    ]
    columns = (
        Column("data that lives elsewhere", "left"),
        Column("what", "left"),
        Column("size", "right"),
        Column("before", "left"),
        Column("", "left"),
        Column("size", "right"),
        Column("after", "left"),
    )
    return table(columns, rows)


def _place(kind: str, amounts: Mapping[str, float]) -> str:
    """Returns where data lives: a cache in shares, weights with a copy on each kind of device named."""
    if kind == "KV cache":
        return shares_text(amounts)
    tiers = dict.fromkeys(map(tier_of, amounts))
    return " and ".join(device_span(d for d in amounts if tier_of(d) == tier) for tier in tiers)
