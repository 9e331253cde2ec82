"""How sparsely each layer attends under an accuracy budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from partitioner.accuracy.choose_options import Option, choose_options
from partitioner.accuracy.sensitivities import Sensitivities
from partitioner.errors import AccuracyError
from partitioner.sparsity import SparF, Sparsity, checked_sparsity, sparsity_from_data, sparsity_to_data


@dataclass(frozen=True)
class AccuracyChoice:
    """What was chosen under a budget, and what it should cost.

    Attributes:
        budget: Largest loss in bits per token, relative to exact attention.
        predicted_loss: What the chosen layers should lose together at most, if drives hold the whole cache: what GPU and host
            hold is attended to exactly.
        read: What is read of the cache, relative to exact attention.
        sparsity: Of each layer; None for exact attention in all.
    """

    budget: float
    predicted_loss: float
    read: float
    sparsity: Sparsity

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON."""
        return {
            "budget": self.budget,
            "predicted_loss": self.predicted_loss,
            "read": self.read,
            "sparsity": sparsity_to_data(self.sparsity),
        }

    @classmethod
    def from_dict(cls, data: Any) -> AccuracyChoice:
        """Builds a choice from :meth:`to_dict`'s form.

        Raises:
            AccuracyError: The data is none.
        """
        names = ("budget", "predicted_loss", "read")
        if not isinstance(data, dict) or set(data) != {*names, "sparsity"}:
            raise AccuracyError(f"accuracy has the fields {', '.join(names)} and sparsity, got {data!r}")
        numbers = [data[name] for name in names]
        if any(
            isinstance(n, bool) or not isinstance(n, int | float) or not 0 <= n < float("inf")
            for n in numbers
        ):
            raise AccuracyError(
                f"accuracy needs finite numbers of at least 0 as {', '.join(names)}, got {numbers}"
            )
        budget, loss, read = map(float, numbers)
        return cls(budget, loss, read, sparsity_from_data(data["sparsity"]))


Read = Callable[[int, SparF | None], float]
"""What a layer reads by itself: from layer and sparsity to bytes, or any unit."""


def check_budget(budget: float) -> None:
    """Checks a budget.

    Raises:
        AccuracyError: It is no share.
    """
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 <= budget < 1:
        raise AccuracyError(
            f"accuracy_budget is a share of exact attention's bits per token that may be lost, got {budget!r}; 0.01 allows 1 %"
        )


def choose_sparsity(sensitivities: Sensitivities, budget: float, read: Read) -> AccuracyChoice:
    """Returns the sparsity of each layer that reads the least within a budget.

    Losses of single layers are summed and raised by the factor that combinations of layers showed
    (``Sensitivities.joint_scale``). Layers may attend exactly.

    Args:
        sensitivities: What layers lose.
        budget: Largest loss in bits per token, relative to exact attention.
        read: What layers read.

    Raises:
        AccuracyError: The budget is no share.
    """
    check_budget(budget)
    compressions = (None, *sensitivities.compressions)
    sparsities = tuple(None if c is None else SparF.ratio(c) for c in compressions)
    layers = range(sensitivities.num_layers)
    scale = sensitivities.joint_scale
    options = [
        [
            Option(scale * sensitivities.loss(layer, compression), read(layer, sparsity))
            for compression, sparsity in zip(compressions, sparsities, strict=True)
        ]
        for layer in layers
    ]
    chosen = choose_options(options, budget)
    picked = [row[index] for row, index in zip(options, chosen, strict=True)]
    return AccuracyChoice(
        budget=budget,
        predicted_loss=sum(option.loss for option in picked),
        read=sum(option.read for option in picked) / sum(row[0].read for row in options),
        sparsity=checked_sparsity([sparsities[index] for index in chosen]),
    )


def entries_read(head_size: int, context_len: int) -> Read:
    """Returns what layers read by entries of K and V, in elements per KV head, at a context length."""

    def read(layer: int, sparsity: SparF | None) -> float:
        share = 1.0 if sparsity is None else sparsity.entries_share(head_size, context_len)
        return 2.0 * head_size * context_len * share

    return read


def layer_compressions(sparsity: Sparsity, num_layers: int) -> Sequence[float | None]:
    """Returns the compression of each layer, None for exact attention."""
    layers = sparsity if isinstance(sparsity, tuple) else (sparsity,) * num_layers
    return tuple(None if layer is None else layer.compression for layer in layers)
