import jax
import jax.numpy as jnp
import pytest
from jax import lax

from cost_models import work_of


def shaped(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def work(fun, *args):
    jaxpr = jax.make_jaxpr(fun)(*args).jaxpr
    return work_of(jaxpr.eqns, jaxpr.invars, jaxpr.outvars)


def bytes_of(fun, *args):
    result = work(fun, *args)
    return result.bytes_read, result.bytes_written


def softmax(x):
    weights = jnp.exp(x - lax.stop_gradient(x.max(-1, keepdims=True)))
    return weights / weights.sum(-1, keepdims=True)


def layer_norm(x, scale, shift):
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * scale + shift


def test_an_elementwise_chain_reads_and_writes_once():
    assert bytes_of(lambda x, y: jnp.exp(x * y) + 1.0, shaped(1000), shaped(1000)) == (8000, 4000)


def test_softmax_and_layer_norm_stay_in_one_kernel():
    assert bytes_of(softmax, shaped(64, 1000)) == (256_000, 256_000)
    assert bytes_of(layer_norm, shaped(64, 512), shaped(512), shaped(512)) == (131_072 + 4096, 131_072)


def test_a_contraction_reads_operands_and_writes_its_result():
    assert bytes_of(jnp.matmul, shaped(8, 16), shaped(16, 32)) == (4 * (128 + 512), 4 * 256)


def test_a_weight_is_read_once_as_stored():
    def product(x, w):
        return x @ w.astype(jnp.float32).T

    assert bytes_of(product, shaped(8, 512), shaped(512, 512, dtype=jnp.bfloat16)) == (
        16384 + 2 * 512**2,
        16384,
    )


def test_mlp_materialises_at_its_contractions():
    def mlp(x, up, down):
        return x + jnp.maximum(x @ up, 0.0) @ down

    # x; hidden; relu(hidden); projected; result
    reads = 4 * (2 * 512 + 512 * 2048) + 4 * 2048 * 4 + 4 * (2048 * 4 + 2048 * 512) + 4 * (2 * 4 * 512)
    reads += 4 * (4 * 512 - 2 * 512)
    assert bytes_of(mlp, shaped(4, 512), shaped(512, 2048), shaped(2048, 512)) == (
        reads,
        4 * (2 * 4 * 2048 + 2 * 4 * 512),
    )


def test_opt_13b_mlp_is_two_flops_per_parameter_and_reads_weights_alone():
    batch, width = 64, 5120

    def mlp(x, up, down):
        return jnp.maximum(x @ up, jnp.float16(0)) @ down

    args = (shaped(batch, width), shaped(width, 4 * width), shaped(4 * width, width))
    args = tuple(shaped(*a.shape, dtype=jnp.float16) for a in args)
    result = work(mlp, *args)
    params = 8 * width * width
    assert result.flops == pytest.approx(2 * batch * params, rel=1e-3)
    assert result.bytes_read == pytest.approx(2 * params, rel=0.02)


def test_embedding_reads_the_rows_it_gathers():
    def embed(table, tokens):
        return table.at[tokens].get(mode="promise_in_bounds", wrap_negative_indices=False)

    assert bytes_of(embed, shaped(50_000, 64), shaped(8, dtype=jnp.int32)) == (8 * 64 * 4 + 32, 8 * 64 * 4)


def test_a_slice_feeding_a_contraction_reads_what_it_takes():
    def product(x, w):
        return x @ lax.slice(w, (0, 0), (64, 64))

    assert bytes_of(product, shaped(4, 64), shaped(64, 6400)) == (4 * (256 + 64 * 64), 4 * 256)


def test_updates_in_place_move_the_update_alone():
    def append(cache, new, position):
        return lax.dynamic_update_slice(cache, new, (0, position, 0), allow_negative_indices=False)

    args = (shaped(8, 2048, 64), shaped(8, 1, 64), shaped(dtype=jnp.int32))
    assert bytes_of(append, *args) == (2048 + 4, 2048)

    def put(cache, new, rows):
        return cache.at[rows].set(new, mode="promise_in_bounds", wrap_negative_indices=False)

    args = (shaped(2048, 64), shaped(8, 64), shaped(8, dtype=jnp.int32))
    assert bytes_of(put, *args) == (2048 + 32, 2048)

    def accumulate(cache, new, rows):
        return cache.at[rows].add(new, mode="promise_in_bounds", wrap_negative_indices=False)

    assert bytes_of(accumulate, *args) == (2 * 2048 + 32, 2048)


def test_updating_a_fresh_buffer_writes_the_buffer():
    def fill(new):
        return lax.dynamic_update_slice(jnp.zeros((64, 64)), new, (0, 0))

    assert bytes_of(fill, shaped(1, 64)) == (256, 64 * 64 * 4 + 256)


def test_decode_attention_reads_the_cache_once():
    batch, heads, size, tokens = 4, 8, 64, 2048

    def attend(q, caches, rows, position):
        (keys, values), (k, v) = caches, rows
        keys = lax.dynamic_update_slice(keys, k, (0, position, 0, 0))
        values = lax.dynamic_update_slice(values, v, (0, position, 0, 0))
        logits = jnp.einsum("bhd,bthd->bht", q, keys)
        seen = jnp.broadcast_to((lax.iota(jnp.int32, tokens) <= position)[None, None], logits.shape)
        logits = lax.select(seen, logits, jnp.full_like(logits, -1e9))
        return jnp.einsum("bht,bthd->bhd", softmax(logits), values), keys, values

    cache, row = shaped(batch, tokens, heads, size), shaped(batch, 1, heads, size)
    q, position = shaped(batch, heads, size), shaped(dtype=jnp.int32)
    result = work(attend, q, (cache, cache), (row, row), position)
    cache_bytes, score_bytes = 4 * batch * tokens * heads * size, 4 * batch * heads * tokens
    vector_bytes = 4 * batch * heads * size
    # both caches; logits and weights through memory once each; q, k and v
    expected = 2 * cache_bytes + 2 * score_bytes + 3 * vector_bytes
    assert result.bytes_read == pytest.approx(expected, abs=64)
    assert result.bytes_written == 2 * score_bytes + 3 * vector_bytes
    assert result.flops == pytest.approx(4 * batch * heads * tokens * size, rel=0.15)


def test_grouped_query_attention_reads_each_kv_head_once():
    def logits(q, keys):
        repeated = jnp.broadcast_to(keys[:, :, None], (2, 4, 8, 128, 64)).reshape(2, 32, 128, 64)
        return jnp.einsum("bhd,bhtd->bht", q, repeated)

    reads, writes = bytes_of(logits, shaped(2, 32, 64), shaped(2, 4, 128, 64))
    assert reads == 4 * (2 * 32 * 64 + 2 * 4 * 128 * 64)
    assert writes == 4 * 2 * 32 * 128


def test_a_value_needed_by_two_kernels_is_written_once():
    def residual(x, first, second):
        hidden = x + x @ first
        return hidden + jnp.tanh(hidden) @ second

    unit = 4 * 4 * 64
    weights = 2 * 64 * 64 * 4
    # x; x and product; tanh; hidden and product
    assert bytes_of(residual, shaped(4, 64), shaped(64, 64), shaped(64, 64)) == (6 * unit + weights, 5 * unit)


def test_views_at_the_border():
    assert bytes_of(lambda x: x.reshape(4, 16), shaped(64)) == (0, 0)
    assert bytes_of(lambda x: x.astype(jnp.bfloat16), shaped(64)) == (256, 128)
    assert bytes_of(lambda x: jnp.broadcast_to(x, (10, 64)), shaped(64)) == (256, 2560)


def test_a_large_reduction_is_written():
    def pairs(x):
        return jnp.exp(x.reshape(1000, 2).sum(-1))

    assert bytes_of(pairs, shaped(2000)) == (8000 + 4000, 8000)


def test_sorted_values_pass_through_memory():
    reads, writes = bytes_of(lambda x: lax.sort(x * 2.0) + 1.0, shaped(1000))
    assert (reads, writes) == (3 * 4000, 3 * 4000)


def test_unused_results_and_no_equations():
    assert bytes_of(lambda x: lax.top_k(x, 4)[0], shaped(8, 64)) == (2048, 128)
    assert work_of([], [], []).num_bytes == 0


def test_work_scales_with_the_number_of_blocks():
    def block(x, w):
        return jnp.tanh(x @ w)

    def stack(x, *weights):
        for w in weights:
            x = block(x, w)
        return x

    one = work(stack, shaped(8, 32), *[shaped(32, 32)])
    ten = work(stack, shaped(8, 32), *[shaped(32, 32)] * 10)
    assert ten == one * 10
