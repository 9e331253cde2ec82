"""Labels every data equation with the module it belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from partitioner.frontend.trace import TracedPhase
from partitioner.jaxpr import Var
from partitioner.passes.raise_attention import RaisedAttention
from partitioner.passes.split_equations import SplitEquations

_ATTENTION = "\0"


def label_equations(
    phase: TracedPhase, split: SplitEquations, raised: Sequence[RaisedAttention]
) -> dict[int, str]:
    """Returns a label per data equation, keyed by the equation's identity.

    A raised attention has a label of its own. Every other equation belongs to the module whose parameter it reads; one that
    reads none joins, where two streams meet (a residual, a gate), the module the later stream comes from; else the module it
    feeds if that is one; else the module it comes from.
    """
    labels = {id(e): attention_label(n) for n, r in enumerate(raised) for e in r.equations}
    module = {name: module_of(name) for name in set(split.param_vars.values())}
    modules = {v: module[name] for v, name in split.param_vars.items()}
    for eqn in split.data:
        for v in split.reads[id(eqn)]:
            if v in modules:
                labels.setdefault(id(eqn), modules[v])
                break
    _label_joins(split, labels)
    _label_by_consumer(phase, split, labels)
    _label_by_producer(phase, split, labels)
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


def _label_joins(split: SplitEquations, labels: dict[int, str]) -> None:
    origin: dict[Var, tuple[int, str]] = {}
    for position, eqn in enumerate(split.data):
        label = labels.get(id(eqn))
        here: tuple[int, str] | None = None
        if label is not None:
            here = (position, label)
        else:
            meets = False
            for v in split.reads[id(eqn)]:
                other = origin.get(v)
                if other is None or other is here:
                    continue
                meets = meets or (here is not None and other[1] != here[1])
                here = other if here is None else max(here, other)
            if here is not None and meets:
                label = labels[id(eqn)] = "residual" if is_attention_label(here[1]) else here[1]
                here = (position, label)
        if here is not None:
            for v in eqn.outvars:
                origin[v] = here


def _label_by_consumer(phase: TracedPhase, split: SplitEquations, labels: dict[int, str]) -> None:
    readers = split.flow.readers
    results = {o.atom for o in phase.outputs if isinstance(o.atom, Var)}
    for eqn in reversed(split.data):
        if id(eqn) in labels or not results.isdisjoint(eqn.outvars):
            continue
        fed = {labels.get(id(r)) for v in eqn.outvars if v in readers for r in readers[v]}
        label = fed.pop() if len(fed) == 1 else None
        if label is not None and not is_attention_label(label):
            labels[id(eqn)] = label


def _label_by_producer(phase: TracedPhase, split: SplitEquations, labels: dict[int, str]) -> None:
    maker: dict[Var, str] = {}
    for eqn in split.data:
        label = labels.get(id(eqn))
        if label is None:
            label = phase.name
            for v in split.reads[id(eqn)]:
                source = maker.get(v)
                if source is not None and not is_attention_label(source):
                    label = source
            labels[id(eqn)] = label
        for v in eqn.outvars:
            maker[v] = label
