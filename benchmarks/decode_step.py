"""Seconds of a prefill and of one decode step on the real device: a ``gpu-only`` plan in a session next to plain ``jax.jit``.

    python -m benchmarks.decode_step [--model opt-1.3b] [--batches 1,16] [--prompt-len 128] [--new 129] [--repeats 5]

``tiny`` and checkpoint folders continue text and must make the same tokens as plain ``jax.jit``. Models known by name
alone have random weights and find many tokens about equally likely: rounding decides, so rows may differ there.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import numpy as jnp

from models import Transformer, TransformerConfig, load_pretrained
from models.presets import PRESETS
from partitioner import Workload, partition
from runtime import Session
from runtime.bench_machine import this_machine
from runtime.bench_spread import spread
from runtime.cli.prompt_windows import prompt_windows


class PlainJit:
    """Greedy generation with nothing but the model and ``jax.jit``, the cache donated from step to step."""

    def __init__(self, model: Transformer, max_len: int) -> None:
        self._model, self._max_len = model, max_len
        graph, self._weights = nnx.split(model)

        def step(weights: Any, tokens: Any, cache: Any, positions: Any) -> tuple[Any, Any, Any]:
            last = jnp.full(tokens.shape[:1], tokens.shape[1] - 1)
            logits, cache = nnx.merge(graph, weights)(tokens, cache, positions, logits_at=last)
            return jnp.argmax(logits[:, 0], axis=-1).astype(jnp.int32)[:, None], cache, positions[:, -1:] + 1

        self._run = step
        self._step = jax.jit(step, donate_argnums=(2,))

    def generate(self, prompts: np.ndarray, num_tokens: int) -> tuple[np.ndarray, float, float]:
        """Returns int32[batch, num_tokens], and the seconds of the prefill and of one decode step."""
        batch_size, prompt_len = prompts.shape
        cache = self._empty(batch_size)
        positions = jnp.broadcast_to(jnp.arange(prompt_len, dtype=jnp.int32), prompts.shape)
        begun = time.perf_counter()
        tokens, cache, positions = self._step(self._weights, jnp.asarray(prompts), cache, positions)
        made = [jax.block_until_ready(tokens)]
        start = time.perf_counter()
        for _ in range(num_tokens - 1):
            tokens, cache, positions = self._step(self._weights, tokens, cache, positions)
            made.append(tokens)
        jax.block_until_ready(tokens)
        seconds = time.perf_counter() - start
        return np.concatenate(jax.device_get(made), axis=1), start - begun, seconds / (num_tokens - 1)

    def _empty(self, batch_size: int) -> Any:
        """Returns empty caches."""
        return self._model.init_cache(batch_size, self._max_len)


def measure(model: Transformer, hw: str, prompts: np.ndarray, num_tokens: int, repeats: int) -> str:
    """Returns two lines of the table: the prefill, and one decode step."""
    batch_size, prompt_len = prompts.shape
    workload = Workload(batch_size, prompt_len, num_tokens)
    plan = partition(model, hw, workload, "gpu-only")
    plain = PlainJit(model, workload.max_len)
    expected, _, _ = plain.generate(prompts, num_tokens)
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    with Session(plan, model, clock="wall") as session:
        result = session.generate(prompts.tolist(), max_new_tokens=num_tokens)
        same = int((np.asarray(result.tokens) == expected).all(axis=1).sum())
        for _ in range(repeats):
            theirs.append(plain.generate(prompts, num_tokens)[1:])
            result = session.generate(prompts.tolist(), max_new_tokens=num_tokens)
            ours.append((result.prefill_s, result.decode_s / (num_tokens - 1)))
    predicted = plan.prefill_seconds, plan.decode_seconds(plan.middle_context)
    lines = []
    for phase, name in enumerate(("prefill", "decode")):
        mine, base = ([times[phase] for times in all_times] for all_times in (ours, theirs))
        middle, plainly = statistics.median(mine), statistics.median(base)
        lines.append(
            f"{batch_size:5}  {name:7}  {1e3 * middle:9.3f}  {spread(mine):6.1%}  {1e3 * plainly:9.3f}  {spread(base):6.1%}  "
            f"{middle / plainly:5.3f}  {1e3 * predicted[phase]:9.3f}  {same:4} of {batch_size}"
        )
    return "\n".join(lines)


def make_prompts(model: Transformer, batch_size: int, prompt_len: int) -> np.ndarray:
    """Returns int32[batch_size, prompt_len]: windows of this file's text, or random tokens for a model without a tokenizer."""
    if model.tokenizer is None:
        rng = np.random.default_rng(0)
        return rng.integers(1, model.config.vocab_size, (batch_size, prompt_len)).astype(np.int32)
    text = Path(__file__).read_text(encoding="utf-8")
    return prompt_windows(model.tokenizer, text, batch_size, prompt_len)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="opt-1.3b")
    parser.add_argument(
        "--hw", default="h200-csd4", help="what the plan predicts for; execution is on JAX's device"
    )
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--prompt-len", type=int, default=128)
    parser.add_argument("--new", type=int, default=129)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if given.model in PRESETS and given.model != "tiny":
        model = Transformer(TransformerConfig.named(given.model), rngs=nnx.Rngs(0))
    else:
        model = load_pretrained(given.model)
    print(this_machine())
    print(
        f"{given.model}, prompts of {given.prompt_len} tokens, {given.new} new, {given.repeats} generations each, in turns\n"
    )
    print("batch  phase      ours ms  spread   plain ms  spread  ratio  predicted  equal rows")
    for batch_size in map(int, given.batches.split(",")):
        prompts = make_prompts(model, batch_size, given.prompt_len)
        print(measure(model, given.hw, prompts, given.new, given.repeats), flush=True)


if __name__ == "__main__":
    main()
