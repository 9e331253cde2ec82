"""What was planned for what, under which rules, and how long it should take."""

from __future__ import annotations

from partitioner.accuracy.choose_sparsity import AccuracyChoice
from partitioner.ir.op import Attention
from partitioner.jaxpr import num_bytes, shape_of
from partitioner.placement.policies import POLICIES
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import counted, duration, significant, size
from partitioner.plan.report.table import pairs, title
from partitioner.sparsity import sparsity_text


def header(figures: Figures) -> list[str]:
    """Returns model, hardware, workload, policy and predicted times."""
    plan, load = figures.plan, figures.plan.workload
    params = [i.var for i in plan.decode.graph.phase.inputs if i.role == "param"]
    elements = sum(_product(shape_of(v)) for v in params)
    total_bytes = sum(num_bytes(v) for v in params)
    rows = [
        (
            "model",
            f"{plan.model_name}, {_number(elements)} parameters, {size(total_bytes)} of weights",
        ),
        ("hardware", f"{plan.hw.name}, {plan.hw.description}" if plan.hw.description else plan.hw.name),
        *(("", note) for note in plan.hw.notes),
        (
            "workload",
            f"batch of {load.batch_size}, prompts of {counted(load.prompt_len, 'token')}, "
            f"{counted(load.decode_len, 'new token')} each",
        ),
        *([("attention", _sparsity(figures))] if load.sparsity else []),
        *([("accuracy", _accuracy(plan.accuracy))] if plan.accuracy else []),
        ("policy", f"{plan.policy}: {POLICIES[plan.policy].summary}"),
        ("prefill", _prefill(figures)),
        ("decode step", _decode(figures)),
        *([("micro-batches", _micro_batches(figures))] if plan.micro_batches > 1 else []),
        ("generation", _generation(figures)),
    ]
    return [*title("Plan"), *pairs(rows)]


def _sparsity(figures: Figures) -> str:
    """Returns what drives read of a cache, and how many attentions they have a part in."""
    plan = figures.plan
    raised = [op.attention for op in plan.decode.graph.ops if op.attention is not None]
    sparse = [attention for attention in raised if attention.sparsity is not None]
    if not sparse:
        return "sparse on drives, which have no part in any: exact"
    kinds = {str(attention.sparsity): attention for attention in sparse}
    rules = ", ".join(_rule(figures, attention) for attention in kinds.values())
    return f"{len(sparse)} of {len(raised)} sparse on drives: {rules}; exact elsewhere"


def _accuracy(choice: AccuracyChoice) -> str:
    """Returns what a budget allowed, what was chosen, and what that should cost."""
    layers = sparsity_text(choice.sparsity) or "all layers exact"
    return (
        f"at most {choice.predicted_loss:.2%} more bits per token than exact attention, {choice.budget:.2%} allowed; reads "
        f"{choice.read:.1%} of what it reads: {layers}"
    )


def _rule(figures: Figures, attention: Attention) -> str:
    sparsity, context = attention.sparsity, attention.tokens_seen(figures.contexts[1])
    assert sparsity is not None
    cache = figures.plan.costing.drive_cache(attention)
    if cache.channel_group is None:
        return f"{sparsity} (attended exactly: a head of {attention.head_size} cannot be stored by channel)"
    return (
        f"{sparsity} (K of {sparsity.channels(attention.head_size)} of {attention.head_size} channels, "
        f"{cache.channel_group} to a page; "
        f"K and V of {sparsity.tokens(context)} of {context} tokens)"
    )


def _prefill(figures: Figures) -> str:
    if figures.plan.prefill is None:
        return "none: this model takes its prompt token by token, in decode steps"
    rows, seconds = figures.plan.prefill.rows, duration(figures.plan.prefill_seconds)
    if figures.slices == 1:
        return f"{seconds}, the whole batch at once"
    return f"{seconds}, in {figures.slices} slices of {counted(rows, 'row')}"


def _decode(figures: Figures) -> str:
    if not figures.plan.total_decode_seconds:
        return "none: the prefill gives the only new token"
    seconds = {c: duration(figures.plan.decode_seconds(c)) for c in figures.contexts}
    first, middle, last = figures.contexts
    if first == last:
        return f"{seconds[first]} over {counted(first, 'token')}, the only one"
    if len(set(seconds.values())) == 1:
        return f"{seconds[first]}, whether over {counted(first, 'token')} (the first) or {last} (the last)"
    return (
        f"{seconds[first]} over {counted(first, 'token')} (the first), {seconds[middle]} over {middle} (the middle one), "
        f"{seconds[last]} over {last} (the last)"
    )


def _micro_batches(figures: Figures) -> str:
    number, rows = figures.plan.micro_batches, counted(figures.plan.decode.rows, "row")
    others = "the other" if number == 2 else "others"
    return f"{number} of {rows} decode side by side: host and drives attend for one while the GPU works for {others}"


def _generation(figures: Figures) -> str:
    plan = figures.plan
    return f"{duration(plan.total_seconds)}, {significant(plan.tokens_per_second)} tokens/s, prefill included"


def _number(count: int) -> str:
    """Returns a large count in words: ``12.9 billion``."""
    for scale, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if count >= 0.9995 * scale:
            return f"{significant(count / scale)} {word}"
    return str(count)


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for d in shape:
        total *= d
    return total
