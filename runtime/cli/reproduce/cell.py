"""One measured point of the published evaluation: a model under a system at a batch, on a number of drives."""

from __future__ import annotations

from dataclasses import dataclass

from cost_models import HardwareSpec
from partitioner import SparF, Workload

PROMPT_LENS = {"opt-13b": 1024, "opt-30b": 1024, "llama-2-13b": 2048}
"""Tokens of a prompt, and as many new ones, by model (InstInfer, arXiv 2409.04992, testbed)."""

PRESETS = {"opt-13b": "a6000-csd", "opt-30b": "2xa6000-csd", "llama-2-13b": "a6000-csd"}
"""Testbed by model: OPT-30B has two GPUs (InstInfer, arXiv 2409.04992, testbed)."""

BATCHES = (4, 8, 16, 32, 64, 128, 256)
"""Batch sizes (InstInfer, arXiv 2409.04992, figures of throughput)."""


@dataclass(frozen=True)
class System:
    """A system of the evaluation.

    Attributes:
        name: As published.
        policy: What places for it.
        compression: Share by traffic of its sparse attention, 8 for 1/8; None where attention is exact.
        published: Whether its software is the published one; else hardware alone.
    """

    name: str
    policy: str
    compression: float | None = None
    published: bool = True


FLEXGEN = System("FlexGen", "flexgen-ssd")
FLEXGEN_GDS = System("FlexGen-GDS", "flexgen-gds")
FLEXGEN_SPARQ = System("FlexGen-SparQ", "flexgen-sparq", 8.0)
DEEPSPEED = System("DeepSpeed", "deepspeed-host")
RECOMP = System("Recomp", "vllm-recompute")
INSTA = System("InstA", "instinfer")
INSTA_SPARF = System("InstA-SparF", "instinfer", 8.0)
AUTO = System("auto, our stack", "auto", published=False)
"""The best placement on the same hardware, by our own stack, attention exact."""

PUBLISHED = (FLEXGEN, FLEXGEN_GDS, FLEXGEN_SPARQ, DEEPSPEED, RECOMP, INSTA, INSTA_SPARF)


@dataclass(frozen=True)
class Cell:
    """A point of the evaluation.

    Attributes:
        system: The system.
        batch: Sequences generated together.
        drives: Drives.
        model: Name of the model.
    """

    system: System
    batch: int
    drives: int = 1
    model: str = "opt-13b"

    @property
    def workload(self) -> Workload:
        """Returns what is generated."""
        tokens, ratio = PROMPT_LENS[self.model], self.system.compression
        return Workload(self.batch, tokens, tokens, SparF.ratio(ratio) if ratio else None)

    @property
    def hardware(self) -> HardwareSpec:
        """Returns the testbed, with the software that the system runs under."""
        preset = PRESETS[self.model]
        return HardwareSpec.load(f"paper-{preset}" if self.system.published else preset).with_drives(
            self.drives
        )
