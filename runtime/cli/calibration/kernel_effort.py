"""Which chains of kernels are measured on a device with memory of its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KernelEffort:
    """Says which chains are measured, and how long they are.

    No shape is one of a model that predictions are usually held against, so that these hold for shapes that were not measured.

    Attributes:
        rows: Rows of products, as of decode steps of that many sequences.
        weights: Inner and outer size of pairs of products, there and back; the first is so small that nothing but the kernels
            counts, the second as narrow as projections to few KV heads.
        attentions: Batch, KV heads, query heads of each, tokens and head size of decode attentions.
        reductions: Rows and columns of arrays that are summed by row.
        large: Rows, inner and outer size of products of which the peak is taken.
        dtypes: Those of ``large``; the first is that of everything else.
        spread_bytes: Bytes that the arrays of one chain take at least, so that no cache holds them from one pass to the next.
        chain_bytes: Bytes that a chain reads at least, passes over the same arrays included.
        chain_flops: Operations after which a chain ends all the same.
        max_links: Links after which a chain ends all the same.
        max_arrays: Sets of arrays at most: the more an executable is given, the longer it takes to start.
        budget_s: Seconds for each chain.
    """

    rows: tuple[int, ...] = (1, 4, 16, 64, 256)
    weights: tuple[tuple[int, int], ...] = (
        (256, 256),
        (5120, 1280),
        (2048, 8192),
        (5120, 5120),
        (5120, 20480),
        (7168, 28672),
    )
    attentions: tuple[tuple[int, int, int, int, int], ...] = (
        (1, 40, 1, 1024, 128),
        (1, 40, 1, 6144, 128),
        (8, 40, 1, 1024, 128),
        (8, 40, 1, 6144, 128),
        (48, 40, 1, 1024, 128),
        (1, 10, 4, 6144, 128),
        (8, 10, 4, 1024, 128),
        (8, 10, 4, 6144, 128),
        (48, 10, 4, 1024, 128),
        (48, 10, 4, 6144, 128),
    )
    reductions: tuple[tuple[int, int], ...] = (
        (8, 5120),
        (512, 5120),
        (2048, 8192),
        (8192, 8192),
        (32768, 8192),
    )
    large: tuple[int, int, int] = (8192, 8192, 8192)
    dtypes: tuple[str, ...] = ("float16", "bfloat16", "float32")
    spread_bytes: float = 6e8
    chain_bytes: float = 4e9
    chain_flops: float = 4e12
    max_links: int = 64
    max_arrays: int = 24
    budget_s: float = 0.1
