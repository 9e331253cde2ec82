"""The forward pass: one code path for prefill and decode, whatever the family."""

import jax
import numpy as np
import pytest
from flax import nnx
from jax import numpy as jnp

from models import Transformer, TransformerConfig
from models.rotary import rotary_angles
from models.training.forward import training_logits

SMALL = {
    "vocab_size": 48,
    "hidden_size": 32,
    "num_layers": 2,
    "head_size": 8,
    "ffn_size": 40,
    "max_position": 32,
    "param_dtype": "float32",
    "compute_dtype": "float32",
    "kv_dtype": "float32",
}
FAMILIES = {
    "opt": TransformerConfig.named("opt-125m").replace(num_heads=4, num_kv_heads=4, **SMALL),
    "llama": TransformerConfig.named("llama-2-7b").replace(num_heads=4, num_kv_heads=4, **SMALL),
    "grouped": TransformerConfig.named("llama-3.1-8b").replace(num_heads=6, num_kv_heads=2, **SMALL),
    "qwen3": TransformerConfig.named("qwen3-0.6b").replace(num_heads=4, num_kv_heads=1, **SMALL),
}
LENGTHS = np.array([9, 4, 7], np.int32)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Transformer:
    return Transformer(FAMILIES[request.param], rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def tokens() -> jax.Array:
    return jax.random.randint(jax.random.key(1), (3, 12), 0, SMALL["vocab_size"])


@nnx.jit
def run(
    model: Transformer,
    tokens: jax.Array,
    cache: list,
    positions: jax.Array,
    logits_at: jax.Array | None = None,
) -> tuple:
    return model(tokens, cache, positions, logits_at=logits_at)


@nnx.jit
def uncached_logits(model: Transformer, tokens: jax.Array) -> jax.Array:
    """Logits by the training pass, which has no cache and another attention."""
    return training_logits(model, tokens, kernel="xla")


def positions_from(starts: np.ndarray, length: int) -> jax.Array:
    return jnp.asarray(starts[:, None] + np.arange(length), jnp.int32)


def test_prefill_equals_the_pass_without_cache(model: Transformer, tokens: jax.Array) -> None:
    logits, cache = run(model, tokens, model.init_cache(3, 16), positions_from(np.zeros(3, int), 12))
    np.testing.assert_allclose(logits, uncached_logits(model, tokens), atol=2e-5)
    assert logits.dtype == jnp.float32
    assert cache[0]["key"].shape == (3, model.config.num_kv_heads, 16, 8)
    assert not np.asarray(cache[1]["value"][:, :, 12:]).any()


def test_uneven_rows_decode_as_they_would_alone(model: Transformer, tokens: jax.Array) -> None:
    """Right padding is harmless: rows are prefilled in one padded batch, then decoded from their own ends."""
    expected = uncached_logits(model, tokens)
    padded = jnp.where(np.arange(10) < LENGTHS[:, None], tokens[:, :10], 0)
    logits, cache = run(
        model, padded, model.init_cache(3, 16), positions_from(np.zeros(3, int), 10), logits_at=LENGTHS - 1
    )
    assert logits.shape == (3, 1, SMALL["vocab_size"])
    rows = np.arange(3)
    np.testing.assert_allclose(logits[:, 0], expected[rows, LENGTHS - 1], atol=2e-5)
    for step in range(3):
        at = LENGTHS + step
        logits, cache = run(model, tokens[rows, at][:, None], cache, jnp.asarray(at)[:, None])
        np.testing.assert_allclose(logits[:, 0], expected[rows, at], atol=2e-5)


def test_prefill_in_pieces_equals_prefill_at_once(model: Transformer, tokens: jax.Array) -> None:
    cache = model.init_cache(3, 12)
    _, cache = run(model, tokens[:, :5], cache, positions_from(np.zeros(3, int), 5))
    logits, _ = run(model, tokens[:, 5:], cache, positions_from(np.full(3, 5), 7))
    np.testing.assert_allclose(logits, uncached_logits(model, tokens)[:, 5:], atol=2e-5)


def test_a_token_sees_nothing_after_it(model: Transformer, tokens: jax.Array) -> None:
    changed = tokens.at[:, 6].set((tokens[:, 6] + 1) % SMALL["vocab_size"])
    positions = positions_from(np.zeros(3, int), 12)
    before, _ = run(model, tokens, model.init_cache(3, 12), positions)
    after, _ = run(model, changed, model.init_cache(3, 12), positions)
    np.testing.assert_array_equal(before[:, :6], after[:, :6])
    assert np.abs(before[:, 6:] - after[:, 6:]).max(axis=(0, 2)).min() > 1e-3


def test_rotary_attention_depends_on_distance_alone() -> None:
    config = FAMILIES["llama"].replace(num_layers=1)
    block = Transformer(config, rngs=nnx.Rngs(0)).blocks[0]
    x = jax.random.normal(jax.random.key(2), (1, 5, config.hidden_size))
    near, far = (rotary_angles(config, positions_from(np.array([start]), 5)) for start in (0, 17))
    scores = []
    for angles in (near, far):
        query, key, _ = block.attention.project(x, angles)
        scores.append(np.einsum("bthd,bshd->bhts", query, key))
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)


@pytest.mark.parametrize(
    ("compute", "kv", "atol"),
    # Logits are about 1 here. Half precision rounds each of some 20 sums to 2^-11, bfloat16 to 2^-8.
    [("float32", "float16", 2e-3), ("float16", "float16", 2e-2), ("bfloat16", "float16", 1.5e-1)],
)
def test_narrow_dtypes_stay_near_float32(compute: str, kv: str, atol: float, tokens: jax.Array) -> None:
    model = Transformer(FAMILIES["grouped"], rngs=nnx.Rngs(0))
    narrow = Transformer(model.config.replace(compute_dtype=compute, kv_dtype=kv), rngs=nnx.Rngs(0))
    logits, cache = run(narrow, tokens, narrow.init_cache(3, 12), positions_from(np.zeros(3, int), 12))
    assert logits.dtype == jnp.float32
    assert cache[0]["key"].dtype == jnp.dtype(kv)
    np.testing.assert_allclose(logits, uncached_logits(model, tokens), atol=atol)


def test_grouped_queries_equal_repeated_keys(tokens: jax.Array) -> None:
    """A model with every KV head copied for each of its queries gives the same logits."""
    grouped = Transformer(FAMILIES["grouped"], rngs=nnx.Rngs(0))
    config = grouped.config.replace(num_kv_heads=grouped.config.num_heads)
    repeated = Transformer(config, rngs=nnx.Rngs(0))
    nnx.update(repeated.embed, nnx.state(grouped.embed))
    nnx.update(repeated.norm, nnx.state(grouped.norm))
    assert repeated.lm_head is not None
    nnx.update(repeated.lm_head, nnx.state(grouped.lm_head))
    for wide, narrow in zip(repeated.blocks, grouped.blocks, strict=True):
        for part in ("norm1", "norm2", "mlp"):
            nnx.update(getattr(wide, part), nnx.state(getattr(narrow, part)))
        for part in ("query", "out"):
            nnx.update(getattr(wide.attention, part), nnx.state(getattr(narrow.attention, part)))
        for part in ("key", "value"):
            kernel = getattr(narrow.attention, part).kernel[...].reshape(config.hidden_size, -1, 8)
            copied = jnp.repeat(kernel, grouped.config.group_size, axis=1).reshape(config.hidden_size, -1)
            getattr(wide.attention, part).kernel[...] = copied
    positions = positions_from(np.zeros(3, int), 12)
    expected, _ = run(repeated, tokens, repeated.init_cache(3, 12), positions)
    logits, _ = run(grouped, tokens, grouped.init_cache(3, 12), positions)
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_one_trace_serves_every_decode_step(tokens: jax.Array) -> None:
    model = Transformer(FAMILIES["opt"], rngs=nnx.Rngs(0))
    graph, params = nnx.split(model)
    num_traces = 0

    @jax.jit
    def step(params: nnx.State, tokens: jax.Array, cache: list, positions: jax.Array) -> tuple:
        nonlocal num_traces
        num_traces += 1
        return nnx.merge(graph, params)(tokens, cache, positions)

    cache = model.init_cache(3, 16)
    for at in range(4):
        _, cache = step(params, tokens[:, at : at + 1], cache, jnp.full((3, 1), at, jnp.int32))
    assert num_traces == 1


def test_module_paths_are_the_documented_ones() -> None:
    def paths(name: str) -> set[str]:
        model = Transformer(FAMILIES[name].replace(num_layers=1), rngs=nnx.Rngs(0))
        return {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))}

    projections = {f"blocks.0.attention.{part}" for part in ("query", "key", "value", "out")}
    mlp = {"blocks.0.mlp.up", "blocks.0.mlp.down"}
    norms = {"blocks.0.norm1", "blocks.0.norm2", "norm"}
    assert paths("opt") == {
        "embed.token.embedding",
        "embed.position.embedding",
        *(f"{path}.{leaf}" for path in projections | mlp for leaf in ("kernel", "bias")),
        *(f"{path}.{leaf}" for path in norms for leaf in ("scale", "bias")),
    }
    llama = {
        "embed.token.embedding",
        "lm_head.kernel",
        "blocks.0.mlp.gate.kernel",
        *(f"{path}.kernel" for path in projections | mlp),
        *(f"{path}.scale" for path in norms),
    }
    assert paths("llama") == llama
    head_norms = {"blocks.0.attention.query_norm.scale", "blocks.0.attention.key_norm.scale"}
    assert paths("qwen3") == llama - {"lm_head.kernel"} | head_norms
