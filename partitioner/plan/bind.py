"""Brings a model's weights to a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from partitioner.errors import PlanError
from partitioner.frontend.adapt import adapt
from partitioner.frontend.step_function import named_leaves
from partitioner.frontend.traced import Element
from partitioner.plan.plan import Plan


@runtime_checkable
class StoredValue(Protocol):
    """A parameter that is still where its model was loaded from; it has shape, dtype and nbytes of the array it stands for."""

    def read(self) -> np.ndarray:
        """Reads the values."""
        ...


@dataclass(frozen=True, eq=False)
class BoundModel:
    """Holds a model's parameters by the names a plan uses.

    Attributes:
        params: Every parameter, by name: an array, or a :class:`StoredValue`.
        tokenizer: Object with ``encode`` and ``decode``, or None.
    """

    params: Mapping[str, Any]
    tokenizer: Any


def bind_model(plan: Plan, model: Any) -> BoundModel:
    """Returns the weights of a model for a plan that was made for it.

    Raises:
        PlanError: If the model is abstract, or its parameters are not those of the plan.
    """
    function = adapt(model)
    leaves = dict(named_leaves(function.params)[0])
    inputs = [i for i in plan.decode.graph.phase.inputs if i.role in ("param", "rng")]
    wanted = {i.name: i.as_element() for i in inputs}
    for i in inputs:
        name, whole = wanted[i.name].whole, wanted[i.name].whole_shape
        leaf = leaves.get(name)
        expected: Any = i.var.aval
        if leaf is None:
            raise PlanError(
                f"the plan is for {plan.model_name}, whose parameter {name!r} the given model lacks; partition it again"
            )
        if isinstance(leaf, jax.ShapeDtypeStruct):
            raise PlanError(
                f"{plan.model_name} is abstract: {name!r} has a shape but no values; load weights with "
                "models.load_pretrained(folder) to run it"
            )
        if tuple(np.shape(leaf)) != whole or leaf.dtype != expected.dtype:
            raise PlanError(
                f"the plan wants {name!r} as {expected.dtype}{list(whole)}, the given model has "
                f"{leaf.dtype}{list(np.shape(leaf))}; partition it again"
            )
    wholes = {element.whole for element in wanted.values()}
    extra = [name for name in leaves if name not in wholes]
    if extra:
        raise PlanError(
            f"the plan is for {plan.model_name}, which has no parameter {extra[0]!r} as the given model has; partition it again"
        )
    return BoundModel(_Elements(leaves, wanted), function.tokenizer)


class _Elements(Mapping[str, Any]):
    """Cuts elements out of stacked arrays when they are asked for, so that no model is held twice."""

    def __init__(self, leaves: Mapping[str, Any], wanted: Mapping[str, Element]) -> None:
        self._leaves, self._wanted = leaves, wanted

    def __getitem__(self, name: str) -> Any:
        element = self._wanted[name]
        return element.of(self._leaves[element.whole])

    def __iter__(self) -> Iterator[str]:
        return iter(self._wanted)

    def __len__(self) -> int:
        return len(self._wanted)
