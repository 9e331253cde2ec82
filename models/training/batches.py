"""Batches of training rows: library text, short fragments of it, and recall texts."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from models.training.recall import VALUE_DIGITS, make_recall_text
from models.training.settings import TrainSettings
from models.training.vocabulary import BEGIN

SHORTEST_FRAGMENT = 16
DENSE_PAIR_BYTES = 46
"""A definition and its question take 45 bytes, so that this many per pair leave nothing for filler."""


class Batch(NamedTuple):
    """One batch.

    Attributes:
        tokens: int32[batch, context + 1]; inputs are all but the last, targets all but the first.
        weights: float32[batch, context], weight of each target in the loss.
    """

    tokens: np.ndarray
    weights: np.ndarray


def make_batches(stream: np.ndarray, settings: TrainSettings, rng: np.random.Generator) -> Iterator[Batch]:
    """Yields batches without end.

    Args:
        stream: uint16[num_tokens], the training documents.
        settings: Sizes and shares.
        rng: Source of every choice.
    """
    length = settings.context + 1
    num_recall = round(settings.batch_size * settings.recall_share)
    num_fragments = round(settings.batch_size * settings.fragment_share)
    num_plain = settings.batch_size - num_recall - num_fragments
    while True:
        starts = rng.integers(len(stream) - length, size=num_plain)
        rows = [stream[start : start + length] for start in starts]
        rows += [_fragments(stream, length, rng) for _ in range(num_fragments)]
        weights = np.ones((settings.batch_size, settings.context), np.float32)
        for row in range(num_plain + num_fragments, settings.batch_size):
            tokens, row_weights = _recall_row(stream, length, settings.answer_weight, rng)
            rows.append(tokens)
            weights[row] = row_weights
        yield Batch(np.stack(rows).astype(np.int32), weights)


def _fragments(stream: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Returns pieces of log-uniform length, each after a ``<|begin|>``."""
    pieces: list[np.ndarray] = []
    filled = 0
    while filled < length:
        size = int(np.exp(rng.uniform(np.log(SHORTEST_FRAGMENT), np.log(length))))
        start = rng.integers(len(stream) - size)
        pieces += [np.array([BEGIN], stream.dtype), stream[start : start + size]]
        filled += size + 1
    return np.concatenate(pieces)[:length]


def _recall_row(
    stream: np.ndarray, length: int, answer_weight: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    most_pairs = length // DENSE_PAIR_BYTES
    num_pairs = most_pairs if rng.random() < 0.3 else int(rng.integers(1, most_pairs))
    start = rng.integers(len(stream) - length)
    filler = stream[start : start + length]
    filler_text = filler[filler < BEGIN].astype(np.uint8).tobytes()
    text = make_recall_text(rng, length=length, num_pairs=num_pairs, filler=filler_text)
    weights = np.where(text.is_random, 0.0, 1.0).astype(np.float32)
    for answer in text.answers:
        weights[answer : answer + VALUE_DIGITS] = answer_weight
    return text.tokens, weights[1:]
