"""What is to be generated: batch, prompt and decode lengths, and the sparsity of attention."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any

from partitioner.errors import WorkloadError
from partitioner.sparsity import Sparsity, checked_sparsity, sparsity_from_data, sparsity_to_data


@dataclass(frozen=True)
class Workload:
    """Describes one batch of a generation.

    Attributes:
        batch_size: Sequences generated together.
        prompt_len: Tokens of the longest prompt; shorter prompts are padded on the right.
        decode_len: New tokens per sequence.
        sparsity: How drives attend: a :class:`partitioner.SparF`, one (or None) for each layer, or None for exact attention.
            GPU and host attend exactly to the share of a cache that they hold.
    """

    batch_size: int = 1
    prompt_len: int = 512
    decode_len: int = 128
    sparsity: Sparsity = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "prompt_len", "decode_len"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise WorkloadError(f"Workload.{name} must be a whole number of at least 1, got {value!r}")
        object.__setattr__(self, "sparsity", checked_sparsity(self.sparsity))

    @property
    def max_len(self) -> int:
        """Returns the longest context: the slots a KV cache needs per sequence."""
        return self.prompt_len + self.decode_len

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON."""
        return {**asdict(self), "sparsity": sparsity_to_data(self.sparsity)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Workload:
        """Builds a workload from :meth:`to_dict`'s form."""
        known = {"batch_size", "prompt_len", "decode_len", "sparsity"}
        unknown = set(data) - known
        if unknown:
            raise WorkloadError(f"unknown workload fields {sorted(unknown)}; known are {sorted(known)}")
        return cls(**{**data, "sparsity": sparsity_from_data(data.get("sparsity"))})

    def decode_contexts(self, *, with_prefill: bool, num: int = 8) -> tuple[tuple[int, float], ...]:
        """Returns (context length, number of decode steps at about that length) pairs over the generation.

        A prefill gives the first new token, so ``decode_len - 1`` steps follow, perhaps none, the first over ``prompt_len + 1``
        tokens. A model that takes its prompt token by token makes ``prompt_len + decode_len - 1`` steps, the first over one
        token. Costs are piecewise linear in the context (pages), so a midpoint rule over a few equal intervals integrates them.
        """
        first = self.prompt_len + 1 if with_prefill else 1
        steps = self.max_len - first
        if steps == 0:
            return ()
        count = min(num, steps)
        edges = [round(i * steps / count) for i in range(count + 1)]
        return tuple((first + (a + b - 1) // 2, float(b - a)) for a, b in itertools.pairwise(edges))
