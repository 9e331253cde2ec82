"""Steps of a model under several policies on the real device, next to what their plans predict.

    python -m benchmarks.gpu_policies [--model opt-6.7b] [--layers 32] [--batch 16] [--prompt-len 1024] [--new 17]
        [--policies gpu-only,host-attention,instinfer] [--repeats 3]
        [--gpu-memory 14e9] [--set drive.flash.channel_bytes_per_s=0.35e9]

Weights are random. Drives are emulated and keep to their rates; GPU and host run as they can. Rows are equal where they hold
the tokens of plain ``jax.jit``; random weights find many tokens about equally likely, so rounding may decide.
"""

from __future__ import annotations

import argparse
import statistics

from flax import nnx

from benchmarks.changed_hardware import changed_hardware
from benchmarks.decode_step import PlainJit, make_prompts
from benchmarks.policy_runs import PolicyRun, run_policy
from models import Transformer, TransformerConfig
from partitioner import Workload
from runtime.bench_machine import this_machine
from runtime.bench_spread import spread


def line_of(policy: str, batch_size: int, run: PolicyRun) -> str:
    """Returns one line of the table."""
    used = ", ".join(f"{name} {1e3 * seconds:.2f}" for name, seconds in run.busy_s.items())
    return (
        f"{policy:15}  {batch_size / run.step_s:8.1f}  {1e3 * run.step_s:8.3f}  {spread(run.steps_s):6.1%}  "
        f"{1e3 * run.predicted_s:9.3f}  {run.ratio:5.2f}  {1e3 * statistics.median(run.prefills_s):10.1f}  "
        f"{1e3 * run.predicted_prefill_s:9.1f}  {used}"
    )


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="opt-6.7b")
    parser.add_argument("--layers", type=int, help="layers to keep; all by default")
    parser.add_argument("--hw", default="h200-csd4", help="what plans are made for")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--prompt-len", type=int, default=1024)
    parser.add_argument("--new", type=int, default=17)
    parser.add_argument("--policies", default="gpu-only,host-attention,instinfer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--gpu-memory", type=float, help="bytes that plans may use of the GPU; all by default"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="changes the description"
    )
    given = parser.parse_args()
    hw = changed_hardware(given.hw, given.set)
    if given.gpu_memory:
        hw = hw.with_memory("gpu0", given.gpu_memory)
    config = TransformerConfig.named(given.model)
    model = Transformer(config.replace(num_layers=given.layers or config.num_layers), rngs=nnx.Rngs(0))
    print(this_machine())
    sizes = f"batch {given.batch}, prompts of {given.prompt_len} tokens, {given.new} new"
    changes = ", ".join((*given.set, *([f"gpu memory {given.gpu_memory:g} B"] if given.gpu_memory else ())))
    print(
        f"{given.model}, {model.config.num_layers} layers, {sizes}; {given.hw}{', ' if changes else ''}{changes}\n"
    )
    print(
        "policy           tokens/s   ms/step  spread  predicted  ratio  prefill ms  predicted  busy ms/step; equal rows"
    )
    workload = Workload(given.batch, given.prompt_len, given.new)
    prompts = make_prompts(model, given.batch, given.prompt_len)
    expected = PlainJit(model, workload.max_len).generate(prompts, given.new)[0].tolist()
    for policy in given.policies.split(","):
        run = run_policy(model, hw, workload, policy, prompts.tolist(), given.repeats)
        line = line_of(policy, given.batch, run)
        print(f"{line.rstrip()}; {run.equal_rows(expected)} of {given.batch}", flush=True)


if __name__ == "__main__":
    main()
