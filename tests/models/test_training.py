"""The parts of the training: corpus, recall task, batches, schedule, and a few steps of it."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from models import ConfigError, Transformer, TransformerConfig, abstract, load_pretrained
from models.training.batches import make_batches
from models.training.corpus import Document, group_of, is_held_out, read_corpus, token_stream
from models.training.evaluate import bits_per_byte
from models.training.forward import training_logits
from models.training.optimize import train_model
from models.training.recall import VALUE_DIGITS, make_recall_text
from models.training.schedule import learning_rate
from models.training.settings import TrainSettings
from models.training.vocabulary import BEGIN, END

TEXT = "".join(f"line {number} of the text\n" for number in range(400)).encode()


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("json/encoder.py", "json"),
        ("test/test_json/test_fail.py", "json"),
        ("_pyio.py", "pyio"),
        ("test/test_enum.py", "enum"),
        ("unittest/test/test_case.py", "unittest"),
    ],
)
def test_modules_are_grouped_with_their_tests(path: str, group: str) -> None:
    assert group_of(Path(path)) == group


def test_no_group_is_on_both_sides() -> None:
    corpus = read_corpus()
    held_out = {group_of(Path(document.path)) for document in corpus.held_out}
    assert {"ast", "codecs", "enum", "string", "threading"} <= held_out
    assert held_out.isdisjoint(group_of(Path(document.path)) for document in corpus.train)
    assert not any("site-packages" in document.path for document in corpus.train)
    assert corpus.train_bytes > 10 * corpus.held_out_bytes > 1_000_000


def test_corpus_of_a_folder(tmp_path: Path) -> None:
    for name, text in {"os.py": b"a", "enum.py": b"b", "bad.py": b"\xff", "blank.py": b"\n"}.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "other.py").write_bytes(b"c")
    corpus = read_corpus(tmp_path)
    assert corpus.train == (Document("os.py", b"a"),)
    assert corpus.held_out == (Document("enum.py", b"b"),)
    assert is_held_out(Path("enum.py"))
    assert token_stream(corpus.train, np.random.default_rng(0)).tolist() == [BEGIN, ord("a"), END]


@pytest.mark.parametrize(("num_pairs", "filler"), [(8, TEXT), (40, b""), (1, TEXT)])
def test_every_answer_stands_after_its_definition(num_pairs: int, filler: bytes) -> None:
    text = make_recall_text(np.random.default_rng(0), length=2048, num_pairs=num_pairs, filler=filler)
    raw = bytes(text.tokens.astype(np.uint8))
    assert len(raw) == 2048
    assert len(text.answers) >= num_pairs // 2
    for answer in text.answers:
        value = raw[answer : answer + VALUE_DIGITS]
        key = raw[answer - len("7f3a == 0x") : answer][:4]
        assert raw.index(b"key_%s = 0x%s\n" % (key, value)) < answer
        assert not text.is_random[answer : answer + VALUE_DIGITS].any()
    definition = raw.index(b"\nkey_" if not raw.startswith(b"key_") else b"key_")
    assert text.is_random[raw.index(b" = 0x", definition) + 5]


def test_batches_are_seeded_and_weighted() -> None:
    settings = TrainSettings(batch_size=8, context=256, recall_share=0.25, fragment_share=0.25)
    stream = token_stream((Document("a.py", TEXT),), np.random.default_rng(0))
    first, again = (next(make_batches(stream, settings, np.random.default_rng(7))) for _ in range(2))
    assert first.tokens.shape == (8, 257)
    assert first.weights.shape == (8, 256)
    np.testing.assert_array_equal(first.tokens, again.tokens)
    assert (first.weights[:6] == 1).all()
    assert set(np.unique(first.weights[6:])) == {0.0, 1.0, 4.0}
    assert (first.tokens[4:6, 0] == BEGIN).all()


def test_learning_rate_rises_and_falls() -> None:
    settings = TrainSettings(warmup_steps=10, peak_lr=1.0, final_lr_ratio=0.1)
    rates = [learning_rate(settings, step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.1 + 0.9 / 2)
    assert rates[100] == pytest.approx(0.1)


def test_an_untrained_model_needs_eight_bits_and_training_lowers_them() -> None:
    config = TransformerConfig.named("tiny").replace(
        num_layers=1, num_heads=2, num_kv_heads=2, head_size=16, hidden_size=32, ffn_size=32
    )
    settings = TrainSettings(steps=25, batch_size=4, context=32, warmup_steps=5, recall_share=0.0)
    document = Document("a.py", TEXT[:1000])
    stream = token_stream((Document("a.py", TEXT),), np.random.default_rng(0))
    before = bits_per_byte(Transformer(config, rngs=nnx.Rngs(0)), [document], context=32)
    assert before == pytest.approx(math.log2(config.vocab_size), abs=1.0)
    result = train_model(config, settings, stream=stream, held_out_stream=stream)
    assert result.num_steps == 25
    assert result.history[-1][0] == 25
    assert bits_per_byte(result.model, [document], context=32) < before - 2


def test_dropout_is_seeded() -> None:
    model = load_pretrained("tiny")
    tokens = jax.random.randint(jax.random.key(0), (2, 16), 0, 256)
    logits_of = nnx.jit(lambda model, key: training_logits(model, tokens, kernel="xla", dropout=0.5, key=key))
    first, again, other = (np.asarray(logits_of(model, jax.random.key(seed))) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize("changes", [{"norm_position": "post"}, {"window": 4}])
def test_models_of_another_form_are_not_trained(changes: dict) -> None:
    model = abstract(TransformerConfig.named("tiny").replace(**changes))
    with pytest.raises(ConfigError, match="only pre-norm models without a window can be trained"):
        training_logits(model, jax.numpy.zeros((1, 4), int), kernel="xla")
