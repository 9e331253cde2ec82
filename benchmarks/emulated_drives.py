"""Decode steps over emulated drives on the real device, predicted and measured: at full rate, throttled, and under policy auto.

    python -m runtime.cli calibrate --drives-of h200-csd4 --out machine.toml
    python -m benchmarks.emulated_drives --hw machine.toml [--model opt-6.7b] [--layers 8] [--prompt-len 1024] [--repeats 3]

Weights are random. *Unthrottled* drives have the rates of the description; where this machine emulates them more slowly, the
table ``[emulation]`` says so, measured on other shapes than these. *Throttled* ones have an eighth of the channels' rate, next
to a GPU with room for the weights and part of the cache.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from flax import nnx

from benchmarks.changed_hardware import changed_hardware
from benchmarks.decode_step import PlainJit, make_prompts
from benchmarks.near_ties import margins, told
from benchmarks.policy_runs import PolicyRun, run_policy
from cost_models import HardwareSpec
from models import Transformer, TransformerConfig
from partitioner import Workload
from runtime.bench_machine import this_machine
from runtime.bench_spread import spread

MOST_RATIO = 1.15
"""Measured over predicted seconds of a step at most, with ``--check``; and the inverse at least."""
THROTTLE = 8.0


@dataclass(frozen=True)
class Case:
    """Names one line of the table.

    Attributes:
        policy: Under which it is planned.
        throttled: Whether drives have an eighth of their channels' rate, and the GPU little memory.
        batch: Sequences.
        new: Tokens that each gets.
    """

    policy: str
    throttled: bool
    batch: int
    new: int

    @property
    def label(self) -> str:
        """Returns what the table calls it."""
        return f"{self.policy}, {'throttled' if self.throttled else 'unthrottled'}"

    def hardware(self, hw: HardwareSpec, gpu_memory_bytes: float) -> HardwareSpec:
        """Returns the description that it is planned for."""
        if not self.throttled:
            return hw
        rate = hw.drives[0].flash.channel_bytes_per_s / THROTTLE
        return hw.replace("drive.flash.channel_bytes_per_s", rate).with_memory("gpu0", gpu_memory_bytes)


CASES = (
    Case("instinfer", throttled=False, batch=16, new=9),
    Case("instinfer", throttled=False, batch=64, new=9),
    Case("instinfer", throttled=True, batch=16, new=9),
    Case("auto", throttled=True, batch=16, new=9),
    Case("auto", throttled=True, batch=16, new=17),
)


def line_of(case: Case, run: PolicyRun, equal: int) -> str:
    """Returns a line of the table."""
    return (
        f"{case.label:22}  {case.batch:5}  {case.new:3}  {1e3 * run.predicted_s:12.2f}  {1e3 * run.step_s:11.2f}  "
        f"{spread(run.steps_s):6.1%}  {run.ratio:20.3f}  {equal:4} of {case.batch}"
    )


def main() -> None:
    """Prints a table; with ``--check``, ends with an error where a prediction is too far off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hw", default="h200-csd4", help="what plans are made for")
    parser.add_argument("--model", default="opt-6.7b")
    parser.add_argument("--layers", type=int, default=8, help="layers to keep")
    parser.add_argument("--prompt-len", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--policies", default="instinfer,auto", help="whose cases to run")
    parser.add_argument("--gpu-memory", type=float, default=4.5e9, help="bytes beside throttled drives")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    policies = given.policies.split(",")
    cases = [case for case in CASES if case.policy in policies]
    if not cases:
        parser.error(f"no case has a policy of {given.policies!r}; there are instinfer and auto")
    hw = changed_hardware(given.hw, given.set)
    config = TransformerConfig.named(given.model).replace(num_layers=given.layers)
    model = Transformer(config, rngs=nnx.Rngs(0))
    print(this_machine())
    print(f"{given.model}, {given.layers} layers, prompts of {given.prompt_len} tokens; {hw.name}")
    if hw.emulation is None:
        print(
            "no [emulation] table: drives are predicted as described, however fast this machine emulates them"
        )
    print(
        "\nplan                    batch  new  predicted ms  measured ms  spread  measured / predicted  equal rows"
    )
    ratios: list[float] = []
    for case in cases:
        workload = Workload(case.batch, given.prompt_len, case.new)
        prompts = make_prompts(model, case.batch, given.prompt_len)
        expected = PlainJit(model, workload.max_len).generate(prompts, case.new)[0].tolist()
        run = run_policy(
            model, case.hardware(hw, given.gpu_memory), workload, case.policy, prompts.tolist(), given.repeats
        )
        ratios.append(run.ratio)
        print(line_of(case, run, run.equal_rows(expected)), flush=True)
        if differ := margins(model, prompts, expected, run.tokens):
            print(told(differ), flush=True)
    if given.check and not all(1 / MOST_RATIO <= ratio <= MOST_RATIO for ratio in ratios):
        sys.exit(
            f"a step takes more than {MOST_RATIO} times what was predicted, or less than 1 / {MOST_RATIO} of it"
        )


if __name__ == "__main__":
    main()
