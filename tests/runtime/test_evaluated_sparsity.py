"""What the evaluation of sparse attention computes and counts, against what drives do."""

import numpy as np
import pytest
from jax import numpy as jnp

from models.accuracy.decode_layer import DecodeLayer, attend_by
from models.accuracy.page_shape import PageShape
from models.accuracy.sparf import SparFAttention
from models.accuracy.teacher_forced import decode, predict, prefill
from partitioner import SparF, Workload, partition
from runtime import Session
from runtime.csd import Attend, Configure, Drive, Sparse, Write
from tests.models.accuracy.layers import random_layer
from tests.runtime.csd.drives import SPEC, new_drive
from tests.runtime.tiny_models import demo_hardware, transformer

PAGES = PageShape.of(SPEC.flash.page_bytes, 8, 2, 2)  # 4 tokens a page, or 2 channels of 16 tokens


def filled_drive(layer: DecodeLayer, length: int) -> Drive:
    """Returns a drive that keeps the first tokens of a layer."""
    rows, kv_heads, shared, _, head_size = layer.query.shape
    keys, values = (np.asarray(x)[:, :, :length] for x in (layer.keys, layer.values))
    drive = new_drive()
    drive.execute(
        Configure(
            1, kv_heads, kv_heads * shared, head_size, keys.dtype, rows, length,
            channel_group=PAGES.channel_group,
        ),
        0.0,
    )  # fmt: skip
    drive.execute(Write(0, keys, values, np.zeros(rows, int)), 0.0)
    return drive


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shared", [1, 2])
@pytest.mark.parametrize("sparsity", [SparF.ratio(2), SparF.ratio(8), SparF(3, 11), SparF(2, 46)])
def test_values_pages_and_elements_are_the_drive_s(sparsity: SparF, shared: int, dtype: str) -> None:
    layer = random_layer(1, shared=shared, dtype=dtype)
    output, reads = attend_by(SparFAttention(sparsity, PAGES), layer)
    assert reads.pages is not None
    rows, kv_heads, _, _, head_size = layer.query.shape
    for i, length in enumerate(layer.context_lens.tolist()):
        lengths, k = np.full(rows, length), sparsity.tokens(length)
        sparse = Sparse(
            sparsity.channels(head_size),
            np.full(rows, k),
            np.full(rows, sparsity.newest(length)),
            shared == 1,
        )
        query = np.asarray(layer.query[:, :, :, i]).reshape(rows, kv_heads * shared, head_size)
        command = Attend(0, query, None, None, lengths, head_size**-0.5, sparse=sparse)
        done = filled_drive(layer, length).execute(command, 0.0)
        got = np.asarray(output[:, :, :, i]).reshape(query.shape)
        np.testing.assert_allclose(got, done.value, atol=3e-5)
        assert reads.pages[:, i].sum() == done.detail.pages_read
        exactly = k >= length
        by_entries = 2 * k * head_size + sparse.num_channels * length
        assert reads.elements[0, i] == kv_heads * (2 * length * head_size if exactly else by_entries)


def test_the_evaluation_predicts_the_tokens_that_drives_generate() -> None:
    """Sparse layers, two exact prompts, and greedy decoding, end to end."""
    layers = (SparF.ratio(4), None, SparF(2, 9))
    model = transformer("float16", num_layers=3)
    prompts = [list(range(3 * row, 3 * row + 24)) for row in range(2)]
    hw = demo_hardware(1).replace("drive.flash.page_bytes", 128)
    plan = partition(model, hw, Workload(2, 24, 20, layers), "instinfer")
    with Session(plan, model, clock="virtual") as session:
        new = np.array(session.generate(prompts, max_new_tokens=20).tokens)
    methods = [SparFAttention(layer or SparF(8, 1000)) for layer in layers]
    prompt = prefill(model, jnp.array(prompts))
    predicted = predict(model, decode(model, prompt, jnp.asarray(new[:, :-1]), methods), new[:, 1:])
    np.testing.assert_array_equal(predicted.likeliest, new[:, 1:])
    exact = [SparFAttention(SparF(8, 1000))] * 3
    others = predict(model, decode(model, prompt, jnp.asarray(new[:, :-1]), exact), new[:, 1:])
    assert (others.likeliest != new[:, 1:]).any()  # so the layers' sparsity is seen
