"""How the arrays of a model lie on the equal GPUs of one host, and what these exchange.

References:
    Shoeybi et al.: Megatron-LM: training multi-billion parameter language models using model parallelism, arXiv 1909.08053.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CollectiveKind = Literal["all_reduce", "all_gather"]


@dataclass(frozen=True)
class Collective:
    """Names an exchange after which every GPU has the whole of a value.

    Attributes:
        kind: ``all_reduce`` adds up what each GPU made of it; ``all_gather`` puts the parts together that each made.
        num_bytes: Of the whole value.
    """

    kind: CollectiveKind
    num_bytes: float


@dataclass(frozen=True)
class TensorParallel:
    """Says which arrays are cut into equal parts, one for each GPU, and which lie on every GPU whole.

    Attributes:
        num_gpus: Parts.
        axes: Axis along which a parameter or a cache is cut, by name.
        whole: Why each other parameter or cache is not cut, by name.
    """

    num_gpus: int
    axes: Mapping[str, int]
    whole: Mapping[str, str]

    def is_whole(self, name: str) -> bool:
        """Tells whether every GPU has all of a parameter or a cache."""
        return name not in self.axes

    def reason(self, name: str) -> str:
        """Returns why a parameter or a cache is not cut; one that is not known here came later, in place of K and V."""
        return self.whole.get(name, "it keeps what K and V of all heads are made of")
