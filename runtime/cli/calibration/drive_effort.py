"""Which decode steps over emulated drives are measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DriveSession:
    """Describes a decode of which drives have all attentions.

    Attributes:
        num_heads: Query heads, and as many KV heads.
        head_size: Width of one head.
        rows: Sequences; a prime number, so that none is decoded in several equal parts.
        prompt_len: Tokens of each prompt.
    """

    num_heads: int
    head_size: int
    rows: int
    prompt_len: int

    def __str__(self) -> str:
        return f"{self.rows} x {self.prompt_len} tokens, {self.num_heads} heads of {self.head_size}"


@dataclass(frozen=True)
class DriveEffort:
    """Says which decodes are measured, and for how long.

    No shape is that of a layer of opt-6.7b: ``benchmarks.gpu_policies`` holds predictions against these.

    Attributes:
        beside_gpu: Decodes where the default device has memory of its own.
        alone: Decodes where it is the host, which has the drives' work and its own.
        num_layers: Layers of a model; most gaps between attentions have a whole layer.
        new_tokens: Tokens that are generated.
        repeats: Generations that count, after one that does not.
    """

    beside_gpu: tuple[DriveSession, ...] = (
        DriveSession(20, 128, 5, 256),
        DriveSession(20, 128, 23, 768),
        DriveSession(40, 128, 23, 896),
        DriveSession(40, 128, 37, 896),
    )
    alone: tuple[DriveSession, ...] = (
        DriveSession(8, 64, 5, 128),
        DriveSession(8, 64, 7, 512),
        DriveSession(12, 64, 11, 768),
    )
    num_layers: int = 4
    new_tokens: int = 13
    repeats: int = 2
