"""Seconds of a prefill and of a decode step on one GPU and on several: sessions next to ``jax.jit`` with shardings by hand.

    python -m benchmarks.tensor_parallel [--model opt-6.7b] [--gpus 2] [--batches 1,16] [--prompt-len 1024] [--new 65]

The shipped model goes first: it continues text, and every way must make the tokens of plain ``jax.jit`` on one GPU, else the
exit status is 1. Models known by name alone have random weights and find many tokens about equally likely: the sum of two GPUs'
parts is rounded otherwise than a whole one, so rows may differ there. Last lines give the time of an all-reduce of a step.
To try it on CPUs: ``XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m benchmarks.tensor_parallel --model tiny``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import lax
from jax import numpy as jnp
from jax.sharding import Mesh, PartitionSpec, Sharding

from benchmarks.changed_hardware import changed_hardware
from benchmarks.decode_step import PlainJit, make_prompts
from cost_models import HardwareSpec, collective_cost
from models import Transformer, TransformerConfig, load_pretrained
from partitioner import Plan, Workload, partition
from runtime import Session
from runtime.bench_machine import this_machine
from runtime.bench_spread import spread
from runtime.jax_device import mesh_of, sharding_on

Generate = Callable[[np.ndarray, int], tuple[np.ndarray, float, float]]
"""From prompts and a number of new tokens to the tokens, and the seconds of the prefill and of one step."""

_COLUMNS = ("query", "key", "value", "gate", "up", "lm_head")
_ROWS = ("out", "down")


class ShardedJit(PlainJit):
    """Greedy generation with ``jax.jit`` and Megatron's shardings, written by hand for this package's decoder.

    Args:
        model: The decoder.
        max_len: Room of the cache.
        mesh: The GPUs, along one axis.
    """

    def __init__(self, model: Transformer, max_len: int, mesh: Mesh) -> None:
        super().__init__(model, max_len)
        self._mesh = mesh
        whole = self._cut(None)
        self._weights = jax.tree_util.tree_map_with_path(
            lambda path, a: jax.device_put(a, self._cut(_axis_of(jax.tree_util.keystr(path), model.config))),
            self._weights,
        )
        caches = jax.tree.map(lambda _: self._cut(1), model.init_cache(1, 1))
        self._step = jax.jit(self._run, donate_argnums=(2,), out_shardings=(whole, caches, whole))

    def _empty(self, batch_size: int) -> Any:
        return jax.tree.map(lambda a: jax.device_put(a, self._cut(1)), super()._empty(batch_size))

    def _cut(self, axis: int | None) -> Sharding:
        return sharding_on(self._mesh, axis)


def _axis_of(path: str, config: TransformerConfig) -> int | None:
    """Returns the axis along which a parameter is cut, by the names in its path."""
    is_bias = "bias" in path
    if any(f"'{name}'" in path for name in _COLUMNS):
        return 0 if is_bias else 1
    if ("'token'" in path and config.tied_embedding) or (
        not is_bias and any(f"'{name}'" in path for name in _ROWS)
    ):
        return 0
    return None


def in_session(session: Session) -> Generate:
    """Returns what generates in a session."""

    def generate(prompts: np.ndarray, num_tokens: int) -> tuple[np.ndarray, float, float]:
        made = session.generate(prompts.tolist(), max_new_tokens=num_tokens)
        return np.asarray(made.tokens), made.prefill_s, made.decode_s / (num_tokens - 1)

    return generate


class Ways:
    """Measures generations of one model and batch in several ways, and prints a line for each.

    Args:
        prompts: int32[batch, tokens].
        num_tokens: New tokens.
        repeats: Measured generations of each way.
    """

    def __init__(self, prompts: np.ndarray, num_tokens: int, repeats: int) -> None:
        self._prompts, self._num_tokens, self._repeats = prompts, num_tokens, repeats
        self._expected: np.ndarray | None = None
        self.all_equal = True

    def measure(self, name: str, num_gpus: int, generate: Generate, plan: Plan | None = None) -> None:
        """Prints the line of a way; tokens are held against those of the first way."""
        tokens, _, _ = generate(self._prompts, self._num_tokens)
        if self._expected is None:
            self._expected = tokens
        equal = (tokens == self._expected).all(axis=1)
        self.all_equal = self.all_equal and bool(equal.all())
        times = [generate(self._prompts, self._num_tokens)[1:] for _ in range(self._repeats)]
        cells = [f"{name:12}  {num_gpus:4}  {len(self._prompts):5}"]
        predicted = None if plan is None else (plan.prefill_seconds, plan.decode_seconds(plan.middle_context))
        for phase in range(2):
            seconds = [t[phase] for t in times]
            cells.append(f"{1e3 * statistics.median(seconds):10.3f}  {spread(seconds):6.1%}")
            cells.append(f"{1e3 * predicted[phase]:9.3f}" if predicted else f"{'-':>9}")
        print("  ".join([*cells, f"{int(equal.sum()):4} of {len(equal)}"]), flush=True)


def compare(model: Transformer, hw: HardwareSpec, given: argparse.Namespace, batch_size: int) -> bool:
    """Prints a line for every way, and returns whether all made the same tokens."""
    prompts = make_prompts(model, batch_size, given.prompt_len)
    ways = Ways(prompts, given.new, given.repeats)
    load = Workload(batch_size, given.prompt_len, given.new)
    ways.measure("plain jit", 1, PlainJit(model, load.max_len).generate)
    mesh = mesh_of(jax.devices()[: given.gpus])
    for num_gpus in dict.fromkeys((1, given.gpus)):
        plan = partition(model, hw.with_gpus(num_gpus), load, "gpu-only")
        with Session(plan, model, clock="wall") as session:
            ways.measure("session", num_gpus, in_session(session), plan)
    ways.measure("jit by hand", given.gpus, ShardedJit(model, load.max_len, mesh).generate)
    return ways.all_equal


def all_reduce_s(mesh: Mesh, shape: tuple[int, ...], num: int = 200) -> float:
    """Returns the seconds of one of many all-reduces of float16 values, one behind the other in one executable."""
    axis, spec = mesh.axis_names[0], PartitionSpec()

    def summed(x: jax.Array) -> jax.Array:
        return lax.fori_loop(0, num, lambda _, v: lax.psum(v, axis) * jnp.asarray(0.5, v.dtype), x)

    run = jax.jit(jax.shard_map(summed, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))
    values = jax.device_put(np.ones(shape, np.float16), sharding_on(mesh))
    jax.block_until_ready(run(values))
    seconds: list[float] = []
    for _ in range(5):
        begun_s = time.perf_counter()
        jax.block_until_ready(run(values))
        seconds.append(time.perf_counter() - begun_s)
    return min(seconds) / num


def main() -> int:
    """Prints a table, and returns 1 if the shipped model's tokens differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="opt-6.7b", help="a name, or tiny for the shipped model alone")
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--hw", default="h200-csd4", help="one GPU of which the prediction takes several")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="e.g. gpu.memory_bytes_per_s=3.35e12 for an H100",
    )
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--prompt-len", type=int, default=1024)
    parser.add_argument("--new", type=int, default=65)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    # CPU devices that exchange cannot have several steps in flight
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if len(jax.devices()) < given.gpus:
        sys.exit(
            f"JAX has {len(jax.devices())} devices, and --gpus asks for {given.gpus}; give fewer, or more devices"
        )
    hw, batches = changed_hardware(given.hw, given.set), [int(b) for b in given.batches.split(",")]
    print(this_machine())
    print(f"predictions for {' with '.join([given.hw, *given.set])}, with as many GPUs\n")
    header = (
        "way           GPUs  batch  prefill ms  spread  predicted     step ms  spread  predicted  equal rows"
    )
    tiny = argparse.Namespace(**{**vars(given), "prompt_len": 128, "new": 65})
    print(f"tiny, prompts of {tiny.prompt_len} tokens, {tiny.new} new\n{header}")
    with jax.default_matmul_precision("highest"):
        is_right = compare(load_pretrained("tiny"), hw, tiny, 4)
    if given.model != "tiny":
        config = TransformerConfig.named(given.model)
        model = Transformer(config, rngs=nnx.Rngs(0))
        print(f"\n{given.model}, prompts of {given.prompt_len} tokens, {given.new} new\n{header}")
        for batch_size in batches:
            compare(model, hw, given, batch_size)
        mesh = mesh_of(jax.devices()[: given.gpus])
        print()
        for batch_size in batches:
            shape = (batch_size, config.hidden_size)
            predicted_s = collective_cost(
                hw.with_gpus(given.gpus), "all_reduce", 2.0 * np.prod(shape)
            ).seconds
            measured_s = all_reduce_s(mesh, shape)
            print(
                f"all-reduce of float16{list(shape)}: {1e6 * measured_s:.2f} us, predicted {1e6 * predicted_s:.2f} us"
            )
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
