"""The first sentences: what runs where, how fast it should be, what limits it, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from partitioner.plan.decisions import SPLIT
from partitioner.plan.names import device_span, tier_of, tier_span
from partitioner.plan.plan import Plan
from partitioner.plan.report.busiest import busiest
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import percent, significant, size
from partitioner.plan.report.shares import shares_text
from partitioner.plan.report.table import paragraph

_WORK = {
    "compute": "with arithmetic",
    "memory": "with memory traffic",
    "flash": "with flash",
    "overhead": "with launches",
    "link": "with exchanges among GPUs",
}


def summary(figures: Figures) -> list[str]:
    """Returns a few sentences, each starting a line: where, how fast, and at what price where that is known."""
    plan = figures.plan
    where = f"{plan.model_name} on {plan.hw.name}, policy {plan.policy}: {_placement(plan)}."
    speed = f"Predicted: {significant(plan.tokens_per_second)} tokens/s. {_limit(figures)}."
    upkeep = _upkeep(plan)
    return [*paragraph(where, ""), *paragraph(speed, ""), *(paragraph(upkeep, "") if upkeep else ())]


def _upkeep(plan: Plan) -> str:
    """Returns what tokens cost, as far as the hardware description says."""
    joules, dollars = plan.joules_per_token, plan.dollars_per_million_tokens
    if joules is None:
        return ""
    energy = f"{significant(joules)} J per token"
    if dollars is None:
        return f"Energy: {energy}."
    return f"Owning and powering the system: {significant(dollars)} USD per million tokens, {energy}."


def _placement(plan: Plan) -> str:
    attention = [op.name for op in plan.ops("decode") if op.attention]
    others = [op.name for op in plan.ops("decode") if not op.attention]
    ways = Counter((plan.decisions.ops[n].tier("decode"), plan.decisions.ops[n].home) for n in attention)
    tiers = Counter(plan.decisions.ops[n].tier("decode") for n in others)
    splits = [plan.decisions.ops[n].split for n in attention]
    windows = {"host" for n in attention if plan.decisions.ops[n].newest}
    used = {tier for way in ways for tier in way} - {SPLIT} | {t for s in splits for t, _ in s} | set(tiers)
    used |= windows
    if len(used) == 1 and {tier_of(d) for d in plan.homes.values()} <= used:
        return f"everything on {tier_span(plan.hw, *used)}"
    parts = [_attention(plan, ways) + _kept_inputs(plan, len(attention))] if ways else []
    spread = [(count, f"on {tier_span(plan.hw, tier)}") for tier, count in tiers.most_common()]
    parts.append(_counted("all other ops" if ways else "all ops", "other ops" if ways else "ops", spread))
    parts.append(_weights(plan))
    return "; ".join(parts)


def _attention(plan: Plan, ways: Counter[tuple[str, str]]) -> str:
    if (SPLIT, SPLIT) in ways:
        return _shared_attention(plan, sum(ways.values()))
    spread: list[tuple[int, str]] = []
    together = all(tier == home for tier, home in ways)
    for (tier, home), count in ways.most_common():
        where = f"on {tier_span(plan.hw, tier)}"
        spread.append((count, where if together else f"{where} with KV cache on {tier_span(plan.hw, home)}"))
    what = "decode attention and its KV cache" if together else "decode attention"
    return _counted(what, what, spread)


def _kept_inputs(plan: Plan, num_layers: int) -> str:
    """Returns in how many layers the cache keeps the input in place of K and V, or nothing."""
    kept = sum(d.form == "input" for d in plan.decisions.ops.values())
    return f" ({kept} of {num_layers} layers keep their input in place of K and V)" if kept else ""


def _shared_attention(plan: Plan, num_layers: int) -> str:
    """Returns the shares of devices in all layers together, and in how many of these they share an attention."""
    total: dict[str, float] = {}
    for op in plan.caches:
        for device, share in plan.device_of("decode", op).items():
            total[device] = total.get(device, 0.0) + share
    ordered = {device: total[device] for device in plan.hw.device_names if device in total}
    several = sum(len({tier_of(s.device) for s in shares}) > 1 for shares in plan.caches.values())
    spread = f"decode attention and its KV cache on {shares_text(ordered)}"
    return (
        f"{spread} ({several} of {num_layers} layers split)" if len(set(map(tier_of, total))) > 1 else spread
    )


def _counted(whole: str, part: str, spread: Sequence[tuple[int, str]]) -> str:
    """Returns one sentence about where ops are: ``all ops on gpu0``, or ``ops: 30 of 32 on gpu0, 2 on host``."""
    if len(spread) == 1:
        return f"{whole} {spread[0][1]}"
    total = sum(count for count, _ in spread)
    first, *rest = spread
    return f"{part}: {first[0]} of {total} {first[1]}, {', '.join(f'{n} {where}' for n, where in rest)}"


def _weights(plan: Plan) -> str:
    held = {d: row["weights"] for d, row in plan.resident_bytes().items() if row["weights"]}
    tiers: dict[str, list[str]] = {}
    for device in held:
        tiers.setdefault(tier_of(device), []).append(device)
    if len(tiers) == 1:
        return f"weights on {device_span(held)}"
    sizes = [f"{size(sum(held[d] for d in found))} on {device_span(found)}" for found in tiers.values()]
    return f"weights: {', '.join(sizes)}"


def _limit(figures: Figures) -> str:
    """Returns the resource that is in use longest in the phase that takes longest, and for what share of it."""
    found = busiest(figures)
    whole = "the prefill" if found.phase == "prefill" else "a decode step"
    if found.is_link:
        name, verb, work = f"link {found.span}", "is", ""
    else:
        name, verb = found.span, "is" if found.span == found.resource else "are"
        work = f", mostly {_WORK[figures.bound_on(found.resource, found.phase)]}"
    return f"Busiest: {name}, which {verb} in use for {percent(found.use)} % of {whole}{work}"
