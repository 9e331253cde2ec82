"""The shipped model: small, and it has learnt something."""

import json
from pathlib import Path

import numpy as np
import pytest

import models
from models import Transformer, TransformerConfig, load_pretrained
from models.training.corpus import Document, is_held_out, read_corpus
from models.training.evaluate import bits_per_byte, recall_accuracy, recall_texts
from models.training.sample import sample

FOLDER = Path(models.__file__).parent / "tiny"


@pytest.fixture(scope="module")
def tiny() -> Transformer:
    return load_pretrained("tiny")


def test_it_is_what_its_name_says(tiny: Transformer) -> None:
    assert tiny.config == TransformerConfig.named("tiny")
    assert tiny.tokenizer is not None
    assert tiny.tokenizer.vocab_size == tiny.config.vocab_size
    assert (FOLDER / "model.safetensors").stat().st_size <= 8_000_000


def test_held_out_bits_per_byte(tiny: Transformer) -> None:
    """A short text here; the record beside the weights has the figure over all held-out modules."""
    document = next(document for document in read_corpus().held_out if document.path == "string.py")
    assert is_held_out(Path(document.path))
    beginning = Document(document.path, document.text[:4096])
    assert bits_per_byte(tiny, [beginning], context=2048, batch_size=2) <= 1.6


def test_recall_over_the_whole_context(tiny: Transformer) -> None:
    texts = recall_texts(read_corpus().held_out, context=2048, num_texts=2, seed=5)
    assert recall_accuracy(tiny, texts, batch_size=2) >= 0.9


def test_greedy_text_is_python(tiny: Transformer) -> None:
    text = sample(tiny, "class Queue:\n    def __init__(self, maxsize=0):\n", num_tokens=32)
    assert text.splitlines()[2] == "        self.maxsize = maxsize"


def test_the_record_is_complete() -> None:
    record = json.loads((FOLDER / "training.json").read_text())
    assert record["metrics"]["held_out_bits_per_byte"] <= 1.3
    assert record["metrics"]["recall_accuracy"] >= 0.95
    assert {"settings", "versions", "machine", "corpus", "history", "train_s"} <= record.keys()
    assert all(is_held_out(Path(path)) for path in record["corpus"]["held_out_modules"])


def test_float16_loses_nothing(tiny: Transformer) -> None:
    """The file holds float16, the loaded parameters are float32 of the same values."""
    kernel = np.asarray(tiny.blocks[0].mlp.up.kernel[...])
    np.testing.assert_array_equal(kernel, kernel.astype(np.float16).astype(np.float32))
