"""The tokenizer wrapper, on the byte-level vocabulary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tokenizer import Tokenizer
from models.training.vocabulary import BEGIN, END, VOCAB_SIZE, tokenizer_json

TOKENIZER = Tokenizer.from_json(tokenizer_json(), END)


@given(st.text().filter(lambda text: "<|" not in text))
def test_ids_are_the_bytes_of_the_text(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert ids == list(text.encode())
    assert TOKENIZER.decode(ids) == text


def test_special_tokens() -> None:
    assert TOKENIZER.vocab_size == VOCAB_SIZE == 258
    assert TOKENIZER.eos_id == END
    assert TOKENIZER.encode("<|begin|>x<|end|>") == [BEGIN, ord("x"), END]
    assert TOKENIZER.decode([BEGIN, ord("x"), END]) == "x"


def test_a_broken_sequence_decodes_to_replacement_characters() -> None:
    assert TOKENIZER.decode([ord("a"), 0xFF, ord("b")]) == "a\ufffdb"


def test_tokenizers_are_values() -> None:
    other = Tokenizer.from_json(tokenizer_json(), END)
    assert other == TOKENIZER
    assert hash(other) == hash(TOKENIZER)
    assert Tokenizer.from_json(tokenizer_json(), None) != TOKENIZER


def test_text_that_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Model missing"):
        Tokenizer.from_json("{}")
