"""Generates on several devices and prints, as JSON, what came of it; run in a process whose JAX shows several CPU devices.

``python -m tests.runtime.generate_on_gpus CASE ...``
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NUM_NEW = 10
NUM_DEVICES = 4


@dataclass(frozen=True)
class Case:
    """A model on several GPUs under a policy.

    Attributes:
        model: Name of a model, see :func:`models`.
        policy: The policy.
        crowded_bytes: Memory of each GPU where caches are not to fit; 0: as the hardware has it.
        num_gpus: GPUs, of as many CPU devices or more.
    """

    model: str
    policy: str
    crowded_bytes: float = 0.0
    num_gpus: int = 2


CASES = {
    "opt gpu-only": Case("opt", "gpu-only"),
    "opt deepspeed-host": Case("opt", "deepspeed-host"),
    "opt instinfer": Case("opt", "instinfer"),
    "opt auto": Case("opt", "auto", 0.12e6),
    "llama gpu-only": Case("llama", "gpu-only", num_gpus=4),
    "linen gpu-only": Case("linen", "gpu-only"),
    "nnx gpu-only": Case("nnx", "gpu-only"),
    "vocabulary gpu-only": Case("vocabulary", "gpu-only"),
}


def models() -> dict[str, Callable[[], Any]]:
    """Returns makers of models by name."""
    from flax import nnx

    from models import Transformer
    from partitioner.frontend import adapt
    from tests.partitioner.small_models import OPT, LinenDecoder, linen_variables
    from tests.runtime.tiny_models import counting_decoder, transformer

    return {
        "opt": lambda: transformer("float16", position="learned", head_size=16, seed=2),
        "llama": lambda: transformer("float32", num_kv_heads=2, head_size=16, seed=7),
        "nnx": lambda: counting_decoder(seed=44),
        "linen": lambda: adapt((LinenDecoder(), linen_variables())),
        "vocabulary": lambda: Transformer(OPT.replace(kv_dtype="float32"), rngs=nnx.Rngs(0)),
    }


def generate(case: Case) -> dict[str, Any]:
    """Returns the tokens of a session and of plain jit on one device, and what the plan and the executable say of the split."""
    from partitioner import Workload, partition
    from runtime import Session, simulate
    from tests.runtime.tiny_models import PROMPTS, demo_hardware, plain_run

    model, hw = models()[case.model](), demo_hardware(2).with_gpus(case.num_gpus)
    hw = hw.replace("drive.flash.page_bytes", 512)
    if case.crowded_bytes:
        hw = hw.replace("gpu.memory_bytes", case.crowded_bytes).with_memory("host", 0)
    workload = Workload(batch_size=4, prompt_len=12, decode_len=NUM_NEW)
    prompts = [[t % 40 for t in prompt] for prompt in PROMPTS]
    expected = plain_run(model, prompts, NUM_NEW, workload.max_len)
    plan = partition(model, hw, workload, case.policy)
    with Session(plan, model, clock="virtual") as session:
        made = session.generate(prompts, max_new_tokens=NUM_NEW)
        weights = session._installed.system.processors["gpu0"].weights  # type: ignore[union-attr]
        shards = {name: len({str(s.index) for s in a.addressable_shards}) for name, a in weights.items()}
    parallel = plan.decode.graph.parallel
    assert parallel is not None
    return {
        "tokens": made.tokens,
        "expected": expected.tokens,
        "margin": expected.margin,
        "decode_s": made.decode_s,
        "simulated_s": simulate(plan, every_step=True).decode_s,
        "homes": sorted({s.device for shares in plan.caches.values() for s in shares}),
        "cut": dict(parallel.axes),
        "whole": dict(parallel.whole),
        "parts": shards,
        "counted": Counter(c.kind for op in plan.decode.graph.ops for c in op.collectives),
    }


def main(names: list[str]) -> None:
    """Prints what came of cases, by name."""
    quick = "--xla_backend_optimization_level=0"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={NUM_DEVICES} {quick}"
    os.environ["JAX_PLATFORMS"] = "cpu"
    print(json.dumps({name: generate(CASES[name]) for name in names}))


if __name__ == "__main__":
    main(sys.argv[1:])
