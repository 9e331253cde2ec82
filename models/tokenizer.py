"""The tokenizer of a checkpoint."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import tokenizers


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Turns text into token ids and back.

    Equal and hashed by the text it was made of, so that a model that holds one stays hashable.

    Attributes:
        fingerprint: SHA-256 of the ``tokenizer.json`` it was made of, in hex.
        vocab_size: Number of ids, added tokens included.
        eos_id: Id that ends a text, or None.
    """

    fingerprint: str
    vocab_size: int
    eos_id: int | None
    _backend: tokenizers.Tokenizer = field(compare=False, repr=False)

    @classmethod
    def from_json(cls, text: str, eos_id: int | None = None) -> Self:
        """Returns the tokenizer that a ``tokenizer.json`` describes.

        Args:
            text: Contents of the file.
            eos_id: Id that ends a text, or None; the file does not say.

        Raises:
            ValueError: If the tokenizers library does not accept the text.
        """
        try:
            backend = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise ValueError(str(error)) from error
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        return cls(fingerprint, backend.get_vocab_size(with_added_tokens=True), eos_id, backend)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text; no special token is added."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids; special tokens are left out."""
        return self._backend.decode([int(token) for token in ids], skip_special_tokens=True)
