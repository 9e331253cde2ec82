"""Which chains of kernels are measured on a device with memory of its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerShape:
    """Describes a layer of a decoder.

    Attributes:
        num_heads: Query heads.
        num_kv_heads: KV heads.
        head_size: Width of one head; heads together are as wide as the residual stream.
        ffn_size: Inner width of the feed-forward layer.
        gated: Whether that has a gate, and the layer norms without bias and rotary positions.
    """

    num_heads: int
    num_kv_heads: int
    head_size: int
    ffn_size: int
    gated: bool

    def __str__(self) -> str:
        heads = f"{self.num_heads} ({self.num_kv_heads} KV) heads of {self.head_size}"
        return f"{heads}, {self.ffn_size} {'gated' if self.gated else 'plain'}"


@dataclass(frozen=True)
class KernelEffort:
    """Says which chains are measured, and how long they are.

    No shape is that of opt-6.7b or llama-3-8b: ``benchmarks.decode_grid`` holds predictions against these, and so shows how
    they hold for shapes that were not measured.

    Attributes:
        layers: Layers of decoders.
        steps: Rows and cached tokens of decode steps, taken of each of them.
        num_layers: Layers of a model that is measured.
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

    layers: tuple[LayerShape, ...] = (
        LayerShape(20, 20, 128, 10240, gated=False),
        LayerShape(40, 40, 128, 20480, gated=False),
        LayerShape(24, 6, 128, 8192, gated=True),
        LayerShape(40, 8, 128, 13824, gated=True),
        LayerShape(64, 8, 128, 28672, gated=True),
    )
    steps: tuple[tuple[int, int], ...] = ((1, 1024), (1, 6144), (4, 1024), (16, 6144), (64, 1024))
    num_layers: int = 4
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
