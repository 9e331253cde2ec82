"""Evaluation of a checkpoint folder on held-out text: ``python -m models.training.evaluate FOLDER``."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jax import numpy as jnp

from models.checkpoint import load_pretrained
from models.training.corpus import Document, read_corpus
from models.training.recall import VALUE_DIGITS, RecallText, make_recall_text
from models.training.vocabulary import BEGIN
from models.transformer import Transformer

RECALL_PAIRS = 16
RECALL_TEXTS = 64


def bits_per_byte(
    model: Transformer, documents: Sequence[Document], context: int, batch_size: int = 8
) -> float:
    """Returns the mean negative log2 likelihood of every byte of the documents.

    Each document is cut into windows of ``context`` bytes without overlap. The first byte of a document is
    predicted from ``<|begin|>``, the first of every later window from the byte before it, so every byte
    counts once and is predicted from at most ``context`` tokens.

    Args:
        model: A byte-level model.
        documents: What to predict.
        context: Tokens per window.
        batch_size: Windows per call.
    """
    windows = [window for document in documents for window in _windows(document.text, context)]
    nats, num_bytes = 0.0, 0
    for start in range(0, len(windows), batch_size):
        chosen = windows[start : start + batch_size]
        tokens = np.zeros((batch_size, context + 1), np.int32)
        weights = np.zeros((batch_size, context), np.float32)
        for row, window in enumerate(chosen):
            tokens[row, : len(window)] = window
            weights[row, : len(window) - 1] = 1
        log_likelihood = _log_likelihood(
            _all_logits(model, jnp.asarray(tokens[:, :-1])), jnp.asarray(tokens[:, 1:])
        )
        nats -= float((np.asarray(log_likelihood, np.float64) * weights).sum())
        num_bytes += int(weights.sum())
    return nats / np.log(2) / num_bytes


def recall_accuracy(model: Transformer, texts: Sequence[RecallText], batch_size: int = 8) -> float:
    """Returns the share of answers of which greedy decoding finds every digit.

    Args:
        model: A byte-level model.
        texts: All of one length.
        batch_size: Texts per call; divides their number.
    """
    num_right, num_answers = 0, 0
    for start in range(0, len(texts), batch_size):
        chosen = texts[start : start + batch_size]
        tokens = np.stack([text.tokens for text in chosen]).astype(np.int32)
        predicted = np.asarray(jnp.argmax(_all_logits(model, jnp.asarray(tokens)), axis=-1))
        for row, text in enumerate(chosen):
            for answer in text.answers:
                digits = slice(answer, answer + VALUE_DIGITS)
                before = slice(answer - 1, answer + VALUE_DIGITS - 1)
                num_right += bool((predicted[row, before] == tokens[row, digits]).all())
                num_answers += 1
    return num_right / num_answers


def recall_texts(
    documents: Sequence[Document], context: int, num_texts: int = RECALL_TEXTS, seed: int = 1
) -> list[RecallText]:
    """Returns recall texts over held-out text.

    Args:
        documents: Where the filler comes from; at least ``context`` bytes in all.
        context: Bytes per text.
        num_texts: How many.
        seed: Of keys, values and places.
    """
    rng = np.random.default_rng(seed)
    library = b"\n".join(document.text for document in documents)
    starts = rng.integers(len(library) - context, size=num_texts)
    return [
        make_recall_text(rng, length=context, num_pairs=RECALL_PAIRS, filler=library[start : start + context])
        for start in starts
    ]


def _windows(text: bytes, context: int) -> list[np.ndarray]:
    tokens = np.concatenate([[BEGIN], np.frombuffer(text, np.uint8)])
    return [tokens[start : start + context + 1] for start in range(0, len(text), context)]


@nnx.jit
def _all_logits(model: Transformer, tokens: jax.Array) -> jax.Array:
    """Returns the logits of the model's own forward pass over a fresh cache."""
    batch_size, length = tokens.shape
    positions = jnp.broadcast_to(jnp.arange(length), tokens.shape)
    return model(tokens, model.init_cache(batch_size, length), positions)[0]


@jax.jit
def _log_likelihood(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Returns the log likelihood of each target in nats: float32[batch, T], logits with a vocabulary axis."""
    log_probabilities = jax.nn.log_softmax(logits, axis=-1)
    return jnp.take_along_axis(log_probabilities, targets[..., None], axis=-1)[..., 0]


def evaluate(folder: str | Path) -> dict[str, float]:
    """Returns bits per byte and recall accuracy of a checkpoint on the held-out modules of this Python."""
    model = load_pretrained(folder)
    documents, context = read_corpus().held_out, model.config.max_position
    return {
        "held_out_bits_per_byte": bits_per_byte(model, documents, context),
        "recall_accuracy": recall_accuracy(model, recall_texts(documents, context)),
    }


def main() -> None:
    """Prints the evaluation of a checkpoint folder as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="checkpoint folder, or the name of a shipped model")
    print(json.dumps(evaluate(parser.parse_args().folder), indent=2))


if __name__ == "__main__":
    main()
