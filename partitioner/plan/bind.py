"""Brings a model's weights to a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from partitioner.errors import PlanError
from partitioner.frontend.adapt import adapt
from partitioner.frontend.step_function import named_leaves
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
    wanted = {i.name: i.var.aval for i in plan.decode.graph.phase.inputs if i.role in ("param", "rng")}
    for name, aval in wanted.items():
        leaf = leaves.get(name)
        expected: Any = aval
        if leaf is None:
            raise PlanError(
                f"the plan is for {plan.model_name}, whose parameter {name!r} the given model lacks; partition it again"
            )
        if isinstance(leaf, jax.ShapeDtypeStruct):
            raise PlanError(
                f"{plan.model_name} is abstract: {name!r} has a shape but no values; load weights with "
                "models.load_pretrained(folder) to run it"
            )
        if tuple(np.shape(leaf)) != tuple(expected.shape) or leaf.dtype != expected.dtype:
            raise PlanError(
                f"the plan wants {name!r} as {expected.dtype}{list(expected.shape)}, the given model has "
                f"{leaf.dtype}{list(np.shape(leaf))}; partition it again"
            )
    extra = [name for name in leaves if name not in wanted]
    if extra:
        raise PlanError(
            f"the plan is for {plan.model_name}, which has no parameter {extra[0]!r} as the given model has; partition it again"
        )
    return BoundModel({n: leaves[n] for n in wanted}, function.tokenizer)
