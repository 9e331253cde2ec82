"""The optimisation loop."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax import numpy as jnp
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from models.abstraction import abstract
from models.config import TransformerConfig
from models.training.batches import Batch, make_batches
from models.training.forward import AttentionKernel, fastest_attention_kernel, training_logits
from models.training.schedule import learning_rate
from models.training.settings import TrainSettings
from models.transformer import Transformer

PROBE_STEPS = 50
"""Steps timed, after those that compile, to see how many fit into a time limit."""

REPORTS = 20
"""Reports of loss and held-out bits per byte in one run."""


class TrainResult(NamedTuple):
    """What a run gives.

    Attributes:
        model: Float32 parameters.
        num_steps: Steps done.
        train_s: Seconds from the first step to the last.
        kernel: Attention implementation.
        history: Step, training loss in nats per token and held-out bits per token, at every report.
    """

    model: Transformer
    num_steps: int
    train_s: float
    kernel: AttentionKernel
    history: list[tuple[int, float, float]]


def train_model(
    config: TransformerConfig,
    settings: TrainSettings,
    *,
    stream: np.ndarray,
    held_out_stream: np.ndarray,
    time_limit_s: float | None = None,
) -> TrainResult:
    """Trains a model from random parameters: bfloat16 compute, float32 parameters and optimizer.

    Args:
        config: What to train.
        settings: How.
        stream: uint16[num_tokens], training documents.
        held_out_stream: uint16[num_tokens], documents to report on; not trained on.
        time_limit_s: Cuts the number of steps to what fits, as seen from the first steps.
    """
    kernel = fastest_attention_kernel()
    model = Transformer(config.replace(compute_dtype="bfloat16"), rngs=nnx.Rngs(settings.seed))
    graph, params = nnx.split(model)
    optimizer = _make_optimizer(settings)
    opt_state = optimizer.init(params)
    step_fn = _make_step(graph, optimizer, settings, kernel)
    held_out_bits = _make_held_out_bits(graph, held_out_stream, settings, kernel)
    batches = make_batches(stream, settings, np.random.default_rng(settings.seed))
    key = jax.random.key(settings.seed)
    num_steps, history = settings.steps, []
    start_s = probe_start_s = time.perf_counter()
    loss = jnp.zeros(())
    with Progress(
        TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        refresh_per_second=1,
    ) as progress:
        task = progress.add_task("compiling", total=num_steps)
        step = 0
        while step < num_steps:
            batch = next(batches)
            rate = learning_rate(settings, step, num_steps)
            params, opt_state, loss = step_fn(params, opt_state, batch, rate, jax.random.fold_in(key, step))
            step += 1
            if step == PROBE_STEPS:
                loss.block_until_ready()
                probe_start_s = time.perf_counter()
            if step == 2 * PROBE_STEPS and time_limit_s is not None:
                loss.block_until_ready()
                now_s = time.perf_counter()
                step_s = (now_s - probe_start_s) / PROBE_STEPS
                num_steps = min(num_steps, step + int((time_limit_s - (now_s - start_s)) / step_s))
                progress.update(task, total=num_steps)
            progress.advance(task)
            if step % max(1, num_steps // REPORTS) == 0 or step == num_steps:
                history.append((step, float(loss), held_out_bits(params)))
                line = f"step {step}: loss {history[-1][1]:.3f} nats, held out {history[-1][2]:.3f} bits"
                progress.update(task, description=line)
                progress.console.print(line)
    train_s = time.perf_counter() - start_s
    trained = nnx.merge(nnx.split(abstract(config))[0], params)
    return TrainResult(trained, num_steps, train_s, kernel, history)


def _make_optimizer(settings: TrainSettings) -> optax.GradientTransformation:
    """Returns clipped AdamW of unit learning rate; each step multiplies its own rate in."""
    return optax.chain(
        optax.clip_by_global_norm(settings.clip_norm),
        optax.adamw(
            1.0,
            b1=0.9,
            b2=0.95,
            weight_decay=settings.weight_decay,
            mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim >= 2, params),
        ),
    )


def _make_step(
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    settings: TrainSettings,
    kernel: AttentionKernel,
) -> Callable:
    def loss_of(params: nnx.State, batch: Batch, key: jax.Array) -> jax.Array:
        model = nnx.merge(graph, params)
        logits = training_logits(
            model, jnp.asarray(batch.tokens[:, :-1]), kernel=kernel, dropout=settings.dropout, key=key
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.tokens[:, 1:])
        return (losses * batch.weights).sum() / batch.weights.sum()

    def step(
        params: nnx.State, opt_state: optax.OptState, batch: Batch, rate: float, key: jax.Array
    ) -> tuple[nnx.State, optax.OptState, jax.Array]:
        loss, gradient = jax.value_and_grad(loss_of)(params, batch, key)
        directions, opt_state = optimizer.update(gradient, opt_state, params)
        updates = jax.tree.map(lambda direction: rate * direction, directions)
        return jax.tree.map(jnp.add, params, updates), opt_state, loss

    return jax.jit(step, donate_argnums=(0, 1))


def _make_held_out_bits(
    graph: nnx.GraphDef, stream: np.ndarray, settings: TrainSettings, kernel: AttentionKernel
) -> Callable[[nnx.State], float]:
    """Returns a function that gives bits per token on one batch of held-out windows, evenly spread."""
    length = settings.context + 1
    starts = np.linspace(0, len(stream) - length, settings.batch_size).astype(int)
    windows = jnp.asarray(np.stack([stream[start : start + length] for start in starts]), jnp.int32)

    @jax.jit
    def bits(params: nnx.State, windows: jax.Array) -> jax.Array:
        logits = training_logits(nnx.merge(graph, params), windows[:, :-1], kernel=kernel)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:])
        return losses.mean() / jnp.log(2.0)

    return lambda params: float(bits(params, windows))
