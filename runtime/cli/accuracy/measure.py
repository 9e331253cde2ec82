"""Measures what single layers, and some of them together, lose where they attend sparsely."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

from models import Transformer
from models.accuracy.evaluate import EXACT, Evaluated, Report, evaluate
from models.accuracy.exact import Exact
from models.accuracy.excerpts import Excerpt, digest_of, take_excerpts
from models.accuracy.sparf import SparFAttention
from models.accuracy.weights_digest import weights_sha256
from partitioner.accuracy.choose_sparsity import choose_sparsity, entries_read, layer_compressions
from partitioner.accuracy.sensitivities import JointLoss, Sensitivities
from runtime.cli.accuracy.study import StudySize
from runtime.cli.accuracy.texts import Texts
from runtime.cli.accuracy.ways import FlashPages, sparf_at
from runtime.cli.given_model import tokenizer_of

COMPRESSIONS = (2.0, 4.0, 8.0, 16.0, 32.0)
BUDGETS = (0.005, 0.01, 0.02, 0.05)
"""Budgets for which the choice is measured as a whole."""

MOST_ROUNDS = 4
"""Choices that are measured per budget; each raises the factor that the next one is made with."""


def measure(model: Transformer, texts: Texts, size: StudySize, report: Report) -> Sensitivities:
    """Returns the losses of a model's layers on texts.

    Each layer attends sparsely by itself at each compression. Then the choices for some budgets are measured as a whole, and
    made again with the factor that this shows, until they hold.

    Args:
        model: The model, with a tokenizer.
        texts: What to measure on.
        size: How much.
        report: Told of the progress.
    """
    excerpts = take_excerpts(
        texts.texts, tokenizer_of(model).encode, context=size.context, count=size.excerpts
    )
    num_layers = len(model.blocks)
    pages = FlashPages(model.config, size.prompt_len, size.context)
    alone = {
        f"{layer} {compression:g}": layers_of(
            [compression if other == layer else None for other in range(num_layers)], pages
        )
        for layer in range(num_layers)
        for compression in COMPRESSIONS
    }
    shape = pages.of(None)
    found = evaluate(model, excerpts, alone, prompt_len=size.prompt_len, shape=shape, report=report)

    def by_layer(value: str) -> tuple[tuple[float, ...], ...]:
        return tuple(
            tuple(float(getattr(found[f"{layer} {c:g}"], value)) for c in COMPRESSIONS)
            for layer in range(num_layers)
        )

    measured = Sensitivities(
        model=model.config.name,
        weights_sha256=weights_sha256(model),
        head_size=model.config.head_size,
        text=texts.origin,
        text_sha256=digest_of(excerpts),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        versions=(("jax", version("jax")), ("python", platform.python_version())),
        prompt_len=size.prompt_len,
        context=size.context,
        excerpts=len(excerpts),
        exact_bits_per_token=float(found[EXACT].bits.mean()),
        compressions=COMPRESSIONS,
        losses=by_layer("loss"),
        errors=by_layer("loss_error"),
    )
    return _with_joint_losses(model, measured, excerpts, pages, report)


def layers_of(compressions: Sequence[float | None], pages: FlashPages) -> tuple[Exact | SparFAttention, ...]:
    """Returns how each layer attends: exactly (None), or by SparF."""
    return tuple(
        Exact(pages.of(None)) if compression is None else sparf_at(compression, pages)
        for compression in compressions
    )


def evaluate_layers(
    model: Transformer,
    excerpts: Sequence[Excerpt],
    compressions: Sequence[float | None],
    pages: FlashPages,
    report: Report,
) -> Evaluated:
    """Evaluates one compression, or None for exact attention, for each layer."""
    way = {"chosen": layers_of(compressions, pages)}
    shape = pages.of(None)
    return evaluate(model, excerpts, way, prompt_len=pages.prompt_len, shape=shape, report=report)["chosen"]


def _with_joint_losses(
    model: Transformer,
    measured: Sensitivities,
    excerpts: Sequence[Excerpt],
    pages: FlashPages,
    report: Report,
) -> Sensitivities:
    read = entries_read(measured.head_size, measured.context)
    for number, budget in enumerate(BUDGETS):
        report("combinations", number, len(BUDGETS))
        for _ in range(MOST_ROUNDS):
            choice = choose_sparsity(measured, budget, read)
            layers = tuple(layer_compressions(choice.sparsity, measured.num_layers))
            if not any(layers) or layers in {joint.compressions for joint in measured.joint}:
                break
            found = evaluate_layers(model, excerpts, layers, pages, lambda stage, done, total: None)
            summed = sum(map(measured.loss, range(measured.num_layers), layers))
            joint = JointLoss(layers, summed, found.loss, found.loss_error)
            measured = replace(measured, joint=(*measured.joint, joint))
            if joint.at_most <= budget:
                break
    report("combinations", len(BUDGETS), len(BUDGETS))
    return measured
