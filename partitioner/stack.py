"""How a published system's software brings KV caches to where they are used: a part of its policy.

At what rates is up to the hardware's ``[software]`` table; without one, every stack moves bytes at the rates of links.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CacheSource = Literal["links", "page-cache", "files", "host-copy"]


@dataclass(frozen=True)
class Stack:
    """Says what a policy's system does in software.

    Attributes:
        source: What brings caches to the GPU: the ``links`` themselves; reads of files through the ``page-cache`` of the host
            (FlexGen); reads of ``files`` without it (GPUDirect Storage); or ``host-copy``, copies from host memory, which is
            swapped where it does not suffice (DeepSpeed).
        sparse: Whether the GPU attends sparsely, as the workload asks of drives, to what it then fetches alone (SparQ).
        whole_prefill: Whether the whole batch is prefilled at once, all its activations in GPU memory, instead of in slices.
        resident_weights: Whether published runs keep all weights in GPU memory.
    """

    source: CacheSource = "links"
    sparse: bool = False
    whole_prefill: bool = False
    resident_weights: bool = False


LINKS = Stack()
"""Caches move as links let them."""
