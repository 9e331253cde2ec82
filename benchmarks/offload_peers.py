"""Plans next to KV offload in plain JAX and numpy, under the same throttle: decoding on the wall clock.

    python -m benchmarks.offload_peers [--batch 4] [--prompt-len 224] [--new 17] [--repeats 3] [--slower 1] [--check]

Peers keep K and V in host memory, or in a memory-mapped file per layer, and fetch them to the GPU in each step, two layers
ahead. They sleep while the described links, drive and GPU would still be at work. A peer is predicted as the policy that moves
the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.gain.compare import compare, windows
from benchmarks.measured_gain import HARDWARE
from benchmarks.peers.compared import FACTOR_TOLERANCE, Peer, lines_of, missed_bars, table
from benchmarks.peers.generate import Offload
from benchmarks.peers.kv_store import FileStore, HostStore, KvStore
from benchmarks.peers.layered_decoder import LayeredDecoder
from benchmarks.peers.throttle import Rates
from benchmarks.verdict import print_verdict
from cost_models import HardwareSpec
from models import Transformer, load_pretrained
from partitioner import Workload
from runtime.bench_machine import this_machine

POLICIES = ("deepspeed-host", "flexgen-ssd", "instinfer", "auto")


def main() -> int:
    """Prints a table; returns 1 if a bar is missed and ``--check`` given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hw", default=str(HARDWARE), help="preset or path of a hardware description")
    parser.add_argument("--slower", type=float, default=1.0, help="slow the hardware down once more")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--prompt-len", type=int, default=224)
    parser.add_argument("--new", type=int, default=17, help="new tokens of each sequence")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    given = parser.parse_args()
    hw = HardwareSpec.load(given.hw).slowed(given.slower)
    model = load_pretrained("tiny")
    workload = Workload(given.batch, given.prompt_len, given.new)
    comparison = compare(model, hw, workload, POLICIES, repeats=given.repeats, tell=_tell)
    lines = lines_of(comparison, run_peers(model, hw, workload, given.repeats))
    print(this_machine())
    print(
        f"tiny on {hw.name}, wall clock, batch {given.batch}, prompts of {given.prompt_len} tokens, {given.new} new, "
        f"median of {given.repeats} runs\n"
    )
    print(table(lines))
    return print_verdict(
        f"factors over peers within {FACTOR_TOLERANCE:.0%} of the prediction, tokens of plain jit",
        missed_bars(lines),
        check=given.check,
    )


def run_peers(model: Transformer, hw: HardwareSpec, workload: Workload, repeats: int) -> tuple[Peer, ...]:
    """Returns what both peers did, each in a cache of its own for every run; a first step compiles and does not count."""
    decoder, rates = LayeredDecoder(model), Rates.of(hw)
    prompts = windows(model, workload.batch_size, workload.prompt_len)
    config = model.config
    shape = (2, workload.batch_size, config.num_kv_heads, workload.max_len, config.head_size)

    def run(name: str, like: str, store: Callable[[], KvStore]) -> Peer:
        Offload(decoder, store(), rates).generate(prompts, 2)
        results = []
        for number in range(repeats):
            _tell(f"{name}, run {number + 1} of {repeats}")
            results.append(Offload(decoder, store(), rates).generate(prompts, workload.decode_len))
        return Peer(name, like, tuple(results))

    with TemporaryDirectory() as folder:
        return (
            run("plain JAX, host memory", "deepspeed-host", lambda: HostStore(config.num_layers, shape)),
            run(
                "plain JAX, files",
                "flexgen-ssd",
                lambda: FileStore(config.num_layers, shape, Path(folder), rates),
            ),
        )


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
