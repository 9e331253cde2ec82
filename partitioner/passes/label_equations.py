"""Labels every data equation with the module it belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from partitioner.frontend.trace import TracedPhase
from partitioner.jaxpr import Var
from partitioner.passes.raise_attention import RaisedAttention
from partitioner.passes.split_equations import SplitEquations
from partitioner.value_numbers import ValueNumbers

_ATTENTION = "\0"
_NOBODY, _SEVERAL = "\1", "\2"
"""In place of the module that a value feeds; no module path can equal them."""


def label_equations(
    phase: TracedPhase, split: SplitEquations, raised: Sequence[RaisedAttention]
) -> list[str | None]:
    """Returns a label for each equation of the phase, None for those that are no data.

    A raised attention has a label of its own. Every other equation belongs to the module whose parameter it reads; one that
    reads none joins, where two streams meet (a residual, a gate), the module the later stream comes from; else the module it
    feeds if that is one; else the module it comes from.
    """
    numbers, order = phase.numbers, phase.flow.order
    labels: list[str | None] = [None] * len(phase.equations)
    for n, r in enumerate(raised):
        label = attention_label(n)
        for e in r.equations:
            labels[order[id(e)]] = label
    module = {name: module_of(name) for name in set(split.param_vars.values())}
    modules: list[str | None] = [None] * numbers.count
    for v, name in split.param_vars.items():
        modules[numbers.of[v]] = module[name]
    for position in split.data_positions:
        if labels[position] is None:
            for n in numbers.reads[position]:
                if modules[n] is not None:
                    labels[position] = modules[n]
                    break
    _label_joins(split, numbers, labels)
    _label_by_consumer(phase, split, numbers, labels)
    _label_by_producer(phase, split, numbers, labels)
    return labels


def attention_label(ordinal: int) -> str:
    """Returns the label of the n-th raised attention; no module path can equal it."""
    return f"{_ATTENTION}{ordinal}"


def is_attention_label(label: str) -> bool:
    """Tells a raised attention's label from a module path."""
    return label.startswith(_ATTENTION)


def module_of(param: str) -> str:
    """Returns the module path of a parameter: its name without the leaf, with the indices of an element."""
    path, indices = split_indices(param)
    return (path.rpartition(".")[0] or path) + indices


def split_indices(name: str) -> tuple[str, str]:
    """Splits ``blocks.mlp.kernel[3]`` into path and indices."""
    path, bracket, indices = name.partition("[")
    return path, bracket + indices


def _label_joins(split: SplitEquations, numbers: ValueNumbers, labels: list[str | None]) -> None:
    reads, first = numbers.reads, numbers.first
    origin: list[tuple[int, str] | None] = [None] * numbers.count
    for position in split.data_positions:
        label = labels[position]
        here: tuple[int, str] | None = None
        if label is not None:
            here = (position, label)
        else:
            meets = False
            for n in reads[position]:
                other = origin[n]
                if other is None or other is here:
                    continue
                meets = meets or (here is not None and other[1] != here[1])
                here = other if here is None else max(here, other)
            if here is not None and meets:
                label = labels[position] = "residual" if is_attention_label(here[1]) else here[1]
                here = (position, label)
        if here is not None:
            for n in range(first[position], first[position + 1]):
                origin[n] = here


def _label_by_consumer(
    phase: TracedPhase, split: SplitEquations, numbers: ValueNumbers, labels: list[str | None]
) -> None:
    """Labels those that feed one module alone; what reads a value comes behind what makes it, and has its label already."""
    reads, first = numbers.reads, numbers.first
    fed = [_NOBODY] * numbers.count
    for output in phase.outputs:
        if isinstance(output.atom, Var):
            fed[numbers.of[output.atom]] = _SEVERAL
    for position in reversed(split.data_positions):
        label = labels[position]
        if label is None:
            modules = {fed[n] for n in range(first[position], first[position + 1])} - {_NOBODY}
            found = modules.pop() if len(modules) == 1 else _SEVERAL
            if found != _SEVERAL and not is_attention_label(found):
                label = labels[position] = found
        if label is None:  # there is no module that what feeds it could belong to
            label = _SEVERAL
        for n in reads[position]:
            if fed[n] != label:
                fed[n] = label if fed[n] == _NOBODY else _SEVERAL


def _label_by_producer(
    phase: TracedPhase, split: SplitEquations, numbers: ValueNumbers, labels: list[str | None]
) -> None:
    reads, first = numbers.reads, numbers.first
    maker: list[str | None] = [None] * numbers.count
    for position in split.data_positions:
        label = labels[position]
        if label is None:
            label = phase.name
            for n in reads[position]:
                source = maker[n]
                if source is not None and not is_attention_label(source):
                    label = source
            labels[position] = label
        for n in range(first[position], first[position + 1]):
            maker[n] = label
