"""Runs that nothing slows down, as a calibrated description predicts them and as they were."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flax import nnx

from cost_models import HardwareSpec
from models import Transformer, TransformerConfig
from partitioner import Workload, partition
from runtime.bench_table import align
from runtime.phases import Progress
from runtime.session import Session

PROMPT_LEN, NEW_TOKENS = 64, 17


@dataclass(frozen=True)
class HeldRun:
    """Holds one decode step of a plan of policy ``gpu-only``.

    Attributes:
        model: Name of the model.
        batch_size: Sequences.
        predicted_s: Seconds of a step as predicted.
        measured_s: Mean seconds of the steps of the faster of two generations.
    """

    model: str
    batch_size: int
    predicted_s: float
    measured_s: float

    @property
    def error(self) -> float:
        """Returns how much longer a step took than predicted, as a share of the prediction."""
        return self.measured_s / self.predicted_s - 1.0


def random_model() -> Transformer:
    """Returns a model of opt-125m's layers with random weights in float32, and a vocabulary of 8192."""
    config = dataclasses.replace(
        TransformerConfig.named("opt-125m"),
        name="opt-125m, random weights",
        vocab_size=8192,
        param_dtype="float32",
        compute_dtype="float32",
        kv_dtype="float32",
    )
    return Transformer(config, rngs=nnx.Rngs(0))


def hold_runs(
    hw: HardwareSpec, models: Sequence[Transformer], progress: Progress, batches: Sequence[int] = (1, 8)
) -> tuple[HeldRun, ...]:
    """Returns decode steps of models on the default device, predicted and measured."""
    found: list[HeldRun] = []
    for model in models:
        for batch_size in batches:
            workload = Workload(batch_size, PROMPT_LEN, NEW_TOKENS)
            plan = partition(model, hw, workload, "gpu-only")
            shape = (batch_size, PROMPT_LEN)
            prompts = np.random.default_rng(0).integers(1, 256, shape).tolist()
            with Session(plan, model, clock="wall") as session:
                runs = [session.generate(prompts, max_new_tokens=NEW_TOKENS) for _ in range(2)]
            measured_s = min(run.decode_s for run in runs) / (NEW_TOKENS - 1)
            predicted_s = plan.total_decode_seconds / (NEW_TOKENS - 1)
            found.append(HeldRun(model.config.name, batch_size, predicted_s, measured_s))
            progress("checking", len(found), len(models) * len(batches))
    return tuple(found)


def held_table(runs: Sequence[HeldRun]) -> list[str]:
    """Returns a line per run."""
    rows = [
        (
            run.model,
            str(run.batch_size),
            f"{1e3 * run.predicted_s:.2f}",
            f"{1e3 * run.measured_s:.2f}",
            f"{run.error:+.0%}",
        )
        for run in runs
    ]
    return align([("decode step", "batch", "predicted ms", "measured ms", "residual"), *rows])
