"""The byte-level vocabulary: ids 0 to 255 are the byte values, two special tokens follow."""

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

BEGIN = 256
"""Id of ``<|begin|>``, which may stand before a text."""

END = 257
"""Id of ``<|end|>``, which stands after a text."""

VOCAB_SIZE = 258


def tokenizer_json() -> str:
    """Returns the ``tokenizer.json`` of the vocabulary.

    The file format writes bytes as printable characters: printable Latin-1 bytes stand for themselves, and
    the others are moved, in order, to code points from 256 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in printable]
    symbols = {byte: chr(byte) for byte in printable}
    symbols |= {byte: chr(256 + index) for index, byte in enumerate(moved)}
    vocab = {symbols[byte]: byte for byte in range(256)}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>"])
    return tokenizer.to_str(pretty=True)
