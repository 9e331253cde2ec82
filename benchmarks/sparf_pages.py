"""Which share of its pages sparse attention touches, with the queries, keys and values of the shipped model on held-out text.

    python -m benchmarks.sparf_pages [--texts 8] [--tokens 2048]

Flash is read by pages: one wanted token makes its whole page move. A token page holds 16 tokens, as the paper's does. The share
depends on how much wanted tokens lie together; next to it stands the share if they lay anywhere, 1 - (1 - k/S) ** 16. The paper
(InstInfer, arXiv 2409.04992) reports that about half of the tokens are in pages that are touched at a nominal 1/8, which is
k = S/8; by traffic, k = S/16 with r = D/8 makes 1/8.

A sequence is a held-out module of Python's standard library; the query is that of its last token. All counts are the drive's.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import jax
import numpy as np
from jax import numpy as jnp

from cost_models import HardwareSpec
from models import Transformer, load_pretrained
from models.rotary import rotary_angles
from models.training.corpus import read_corpus
from runtime.bench_machine import this_machine
from runtime.csd import Attend, CommandDetail, Configure, Drive, Sparse, Write

GROUP_TOKENS = 16
CHANNEL_GROUP = 8
RATIO = 8
PAPER = "about half"


@dataclass(frozen=True)
class LayerInputs:
    """What one layer attends with: query ``[n, H, D]`` of the last token, key and value ``[n, K, S, D]`` as stored."""

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray


def layer_inputs(model: Transformer, tokens: jax.Array) -> list[LayerInputs]:
    """Returns what every layer attends with at the last of the tokens, int32 ``[n, S]``."""
    rows, length = tokens.shape
    positions = jnp.broadcast_to(jnp.arange(length), (rows, length))
    angles = rotary_angles(model.config, positions) if model.config.position == "rotary" else None
    x = model.embed(tokens, positions)
    found: list[LayerInputs] = []
    for block, cache in zip(model.blocks, model.init_cache(rows, length), strict=True):
        query, _, _ = block.attention.project(block.norm1(x), angles)
        x, stored = block(x, cache, positions, angles)
        arrays = (query[:, -1], stored["key"], stored["value"])
        found.append(LayerInputs(*(np.asarray(array) for array in arrays)))
    return found


def held_out_tokens(num_texts: int, length: int) -> jax.Array:
    """Returns the first bytes of the longest held-out modules, int32 ``[num_texts, length]``."""
    texts = sorted((document.text for document in read_corpus().held_out), key=len, reverse=True)[:num_texts]
    return jnp.array([np.frombuffer(text[:length], np.uint8) for text in texts], jnp.int32)


def attend(layer: LayerInputs, num_channels: int, num_tokens: int) -> CommandDetail:
    """Returns what a drive does to attend sparsely; a quarter of the tokens are the newest ones."""
    rows, heads, length, head_size = layer.key.shape
    spec = HardwareSpec.load("a6000-csd").drives[0]
    page_bytes = GROUP_TOKENS * head_size * layer.key.dtype.itemsize
    drive = Drive(replace(spec, flash=replace(spec.flash, page_bytes=page_bytes)))
    drive.execute(
        Configure(
            1,
            heads,
            layer.query.shape[1],
            head_size,
            layer.key.dtype,
            rows,
            length,
            channel_group=CHANNEL_GROUP,
        ),
        0.0,
    )
    drive.execute(Write(0, layer.key, layer.value, np.zeros(rows, int)), 0.0)
    chosen = np.full(rows, num_tokens)
    sparse = Sparse(num_channels, chosen, chosen // 4, mean_value=True)
    lengths = np.full(rows, length)
    command = Attend(0, layer.query, None, None, lengths, head_size**-0.5, sparse=sparse)
    return drive.execute(command, 0.0).detail


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=2048)
    given = parser.parse_args()
    model = load_pretrained("tiny")
    assert isinstance(model, Transformer)
    layers = layer_inputs(model, held_out_tokens(given.texts, given.tokens))
    rows, heads, length, head_size = layers[0].key.shape
    itemsize = layers[0].key.dtype.itemsize
    channel_tokens = GROUP_TOKENS * head_size // CHANNEL_GROUP
    if length % channel_tokens:
        parser.error(
            f"--tokens {length} is no multiple of {channel_tokens}, a channel page's tokens; choose one"
        )
    token_pages = rows * heads * 2 * (length // GROUP_TOKENS)
    channel_pages = rows * heads * (head_size // CHANNEL_GROUP) * (length // channel_tokens)
    page_bytes = GROUP_TOKENS * head_size * itemsize
    print(this_machine())
    print(
        f"model tiny, {rows} held-out texts of {length} tokens, {len(layers)} layers, {heads} KV heads of {head_size} "
        f"{layers[0].key.dtype}\npages of {page_bytes} bytes: {GROUP_TOKENS} tokens, or {CHANNEL_GROUP} channels of "
        f"{channel_tokens} tokens; r = {head_size // RATIO}\n"
    )
    print("          step one: channel pages  step two: token pages   bytes of dense attention")
    print("     k    touched   entries        touched  if anywhere    pages   entries")
    for divisor in (RATIO, 2 * RATIO):
        details = [attend(layer, head_size // RATIO, length // divisor) for layer in layers]
        one = sum(detail.pages_step_one for detail in details) / (len(layers) * channel_pages)
        two = sum(detail.pages_step_two for detail in details) / (len(layers) * token_pages)
        whole = len(layers) * token_pages * page_bytes
        pages = sum(detail.pages_read for detail in details) * page_bytes / whole
        entries = sum(detail.entries_bytes for detail in details) / whole
        anywhere = 1 - (1 - 1 / divisor) ** GROUP_TOKENS
        print(
            f"S/{divisor:<3}    {one:7.1%}   {1 / RATIO:7.1%}        {two:7.1%}      {anywhere:7.1%}  {pages:7.1%}   "
            f"{entries:7.1%}"
        )
    print(f"\nthe paper, nominally 1/8: {PAPER} of the tokens in pages that are touched")


if __name__ == "__main__":
    main()
