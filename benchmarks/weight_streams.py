"""Decodes a model of twice the GPU memory that its plan may use: how fast do weights stream, next to what the link can do?

    python -m benchmarks.weight_streams [--model opt-6.7b] [--batch 4] [--prompt-len 128] [--new 9] [--share 0.5] [--repeats 10]

The link's rate is that of copies of 128 MB from pinned host memory, eight under way at a time, in the same run. The rate of a
step is what crosses the link to the GPU in a step, caches among it, over the whole time of a step. Weights are random.
"""

from __future__ import annotations

import argparse
import statistics
import time

import jax
import numpy as np
from flax import nnx
from jax.sharding import SingleDeviceSharding

from benchmarks.decode_step import PlainJit, make_prompts
from cost_models import HardwareSpec
from models import Transformer, TransformerConfig
from partitioner import Workload, partition
from partitioner.plan.steps import Move
from runtime import Session
from runtime.bench_machine import this_machine
from runtime.bench_spread import spread
from runtime.devices.null import count_steps
from runtime.pinned import pinned

COPY_BYTES = 128 << 20
COPIES = 8


def link_rates(repeats: int) -> list[float]:
    """Returns bytes per second from pinned host memory to the device, once for each repeat."""
    device = jax.devices()[0]
    own = SingleDeviceSharding(device)
    sources = [jax.device_put(np.zeros(COPY_BYTES, np.uint8), pinned(device)) for _ in range(COPIES)]
    jax.block_until_ready([jax.device_put(s, own) for s in sources])
    found: list[float] = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready([jax.device_put(s, own) for s in sources])
        found.append(COPIES * COPY_BYTES / (time.perf_counter() - begun))
    return found


def main() -> None:
    """Prints the rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="opt-6.7b")
    parser.add_argument("--layers", type=int, help="layers to keep; all by default")
    parser.add_argument("--hw", default="h200-csd4")
    parser.add_argument("--policy", default="deepspeed-host")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--prompt-len", type=int, default=128)
    parser.add_argument("--new", type=int, default=9)
    parser.add_argument("--share", type=float, default=0.5, help="GPU memory over the bytes of the weights")
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args()
    config = TransformerConfig.named(given.model)
    model = Transformer(config.replace(num_layers=given.layers or config.num_layers), rngs=nnx.Rngs(0))
    size = sum(a.nbytes for a in jax.tree.leaves(nnx.state(model, nnx.Param)))
    hw = HardwareSpec.load(given.hw).with_memory("gpu0", given.share * size)
    workload = Workload(given.batch, given.prompt_len, given.new)
    prompts = make_prompts(model, given.batch, given.prompt_len)
    expected, _, _ = PlainJit(model, workload.max_len).generate(prompts, given.new)
    plan = partition(model, hw, workload, given.policy)
    if not any(isinstance(s, Move) and s.kind == "stream_weights" for s in plan.decode.steps):
        parser.error("no weights stream; give less memory with --share")
    print(this_machine())
    print(f"{given.model}, {model.config.num_layers} layers, {size / 1e9:.2f} GB of weights")
    print(f"{given.policy} with {given.share * size / 1e9:.2f} GB of GPU memory, batch {given.batch}")
    print(f"prompts of {given.prompt_len} tokens, {given.new} new, medians of {given.repeats}")
    crossed = count_steps(plan, plan.middle_context).link_bytes["gpu0.down"]
    steps: list[float] = []
    with Session(plan, model, clock="wall") as session:
        tokens = session.generate(prompts.tolist(), max_new_tokens=given.new).tokens
        for _ in range(given.repeats):
            steps.append(
                session.generate(prompts.tolist(), max_new_tokens=given.new).decode_s / (given.new - 1)
            )
    rates = [crossed / s for s in steps]
    link = link_rates(given.repeats)
    same = int((np.asarray(tokens) == expected).all(axis=1).sum())
    print(f"crosses in a step      {crossed / 1e9:8.3f} GB")
    print(f"step                   {1e3 * statistics.median(steps):8.1f} ms     spread {spread(steps):.1%}")
    print(f"predicted              {1e3 * plan.decode_seconds(plan.middle_context):8.1f} ms")
    print(f"rate of a step         {statistics.median(rates) / 1e9:8.2f} GB/s   spread {spread(rates):.1%}")
    print(f"rate of the link       {statistics.median(link) / 1e9:8.2f} GB/s   spread {spread(link):.1%}")
    print(f"ratio                  {statistics.median(rates) / statistics.median(link):8.2f}")
    print(f"rows as of plain jit   {same} of {given.batch}")


if __name__ == "__main__":
    main()
