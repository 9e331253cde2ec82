"""The first two sentences: what runs where, how fast it should be, and what limits it."""

from __future__ import annotations

from collections import Counter

from partitioner.plan.plan import Plan
from partitioner.plan.report.figures import Figures
from partitioner.plan.names import device_span, tier_of, tier_span
from partitioner.plan.report.numerals import percent, significant, size
from partitioner.plan.report.table import paragraph

_WORK = {
    "compute": "arithmetic on {}",
    "memory": "memory traffic of {}",
    "flash": "flash reads in {}",
    "overhead": "launches on {}",
    "link": "{}",
}


def summary(figures: Figures) -> list[str]:
    """Returns two sentences, each on its own line."""
    plan = figures.plan
    where = f"{plan.model_name} on {plan.hw.name}: {_placement(plan)}."
    speed = f"Predicted: {significant(plan.tokens_per_second)} tokens/s, limited by {_limit(figures)}."
    return [*paragraph(where, ""), *paragraph(speed, "")]


def _placement(plan: Plan) -> str:
    parts = [_weights(plan)]
    attention = [op.name for op in plan.ops("decode") if op.attention]
    others = [op.name for op in plan.ops("decode") if not op.attention]
    for (tier, home), count in _ways(plan, attention).most_common():
        number = "" if count == len(attention) else f" of {count} of {len(attention)} layers"
        ways = tier_span(plan.hw, tier)
        if tier == home:
            parts.append(f"attention{number} and its KV cache on {ways}")
        else:
            parts.append(f"attention{number} on {ways}, its KV cache on {tier_span(plan.hw, home)}")
    tiers = Counter(plan.decisions.ops[name].tier("decode") for name in others)
    used = {tier for way in _ways(plan, attention) for tier in way} | set(tiers)
    if len(used) == 1 and set(plan.homes.values()) <= {plan.costing.device(*used)}:
        return f"everything on {tier_span(plan.hw, *used)}"
    spread = [
        f"{count} of {len(others)} other ops on {tier_span(plan.hw, t)}" for t, count in tiers.most_common()
    ]
    parts.append(f"all other ops on {tier_span(plan.hw, *tiers)}" if len(tiers) == 1 else " and ".join(spread))
    return "decode " + "; ".join(p for p in (*parts[1:], parts[0]) if p)


def _ways(plan: Plan, attention: list[str]) -> Counter[tuple[str, str]]:
    return Counter((plan.decisions.ops[n].tier("decode"), plan.decisions.ops[n].home) for n in attention)


def _weights(plan: Plan) -> str:
    held = {d: row["weights"] for d, row in plan.resident_bytes().items() if row["weights"]}
    tiers: dict[str, list[str]] = {}
    for device in held:
        tiers.setdefault(tier_of(device), []).append(device)
    if len(tiers) == 1:
        return f"weights on {device_span(held)}"
    sizes = [f"{size(sum(held[d] for d in found))} on {device_span(found)}" for found in tiers.values()]
    return "weights " + " and ".join(sizes)


def _limit(figures: Figures) -> str:
    """Returns the resource that is in use longest in the phase that takes longest, and for what share of it."""
    plan = figures.plan
    phase = "prefill" if plan.prefill_seconds > plan.total_decode_seconds else "decode"
    timeline = figures.timeline(phase)
    busy = timeline.busy_s()
    longest = max(busy, key=lambda r: busy[r])
    alike = [r for r in busy if tier_of(r.partition(".")[0]) == tier_of(longest.partition(".")[0])]
    alike = [r for r in alike if r.partition(".")[2] == longest.partition(".")[2]]
    bound = "link" if "." in longest else figures.bound_on(longest, phase)
    name = device_span(alike)
    work = _WORK[bound].format(f"the link {name}" if bound == "link" else name)
    whole = "the prefill" if phase == "prefill" else "a decode step"
    return f"{work}: {percent(busy[longest] / timeline.end_s)} % of {whole}"
