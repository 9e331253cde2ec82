"""Confirms a raise by running the region on random small inputs against reference attention."""

from __future__ import annotations

import numpy as np

from partitioner.ir.layout import from_layout, to_layout
from partitioner.ir.op import AxisRole
from partitioner.jaxpr import Var, dtype_of
from partitioner.passes.infer_layout import RegionLayout
from partitioner.passes.logit_rule import LogitRule, ValidationError
from partitioner.passes.run_region import RegionRunner

QUERY_ROLES: tuple[AxisRole, ...] = ("batch", "kv_head", "group", "head_size")
NEW_ROLES: tuple[AxisRole, ...] = ("batch", "kv_head", "head_size")
CACHE_ROLES: tuple[AxisRole, ...] = ("batch", "kv_head", "token", "head_size")

_TOLERANCE = {"float64": 1e-6, "float32": 2e-4, "float16": 1e-2, "bfloat16": 4e-2}
_LARGE_QUERY, _LARGE_LOGIT = 256.0, 4096.0
_FLOAT16_PRODUCT = 2.0**15
"""What q.K^T may reach before it is scaled; float16 ends at 65504."""
_GAP = 1 / 64
"""Of the largest logit: 64, of which the roundings of bfloat16 (2^-8 of a logit) leave 32 at the least."""

_Operands = tuple[np.ndarray, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def validate_attention(region: RegionRunner, layout: RegionLayout, rule: LogitRule) -> None:
    """Confirms that a region appends one token to its caches and attends by a rule.

    Args:
        region: The region at small sizes.
        layout: Its axes.
        rule: How it makes weights; slopes by query head, KV head major.

    Raises:
        ValidationError: With what differs.
    """
    runner = _CanonicalRunner(region, layout)
    generator = np.random.default_rng(0)
    size = region.phase.max_len
    cursors = any(i.role == "cursor" for i in region.phase.inputs)
    rows = region.phase.batch_size
    drawn = _random_operands(runner, generator)
    for trial, length in enumerate((0, size - 1, size // 3, size // 2)):
        even = trial < 2 or cursors
        lengths = np.full(rows, length) if even else generator.integers(0, size, rows)
        _compare(runner, rule, lengths, *drawn)
    for sign in (1, -1):
        operands = _large_operands(runner, rule.scale, sign, drawn)
        try:
            _compare(runner, rule, np.full(rows, size - 1), *operands)
        except ValidationError as error:
            raise ValidationError(f"at large q.K^T, as under a clip, {error}") from error


def slopes_by_head(region: RegionRunner, layout: RegionLayout) -> np.ndarray:
    """Returns by how much one step of distance lowers the logit of each query head, float64 ``[heads]``, KV head major.

    Of two tokens with equal logits and v = 0 and 1, the output is what the newer one weighs.
    """
    runner = _CanonicalRunner(region, layout)
    new = (np.zeros(runner.new_shape, np.float32), np.ones(runner.new_shape, np.float32))
    empty = np.zeros(runner.cache_shape, dtype_of(region.region.key.before))
    lengths = np.ones(region.phase.batch_size, np.int64)
    output = runner(np.zeros(runner.query_shape, np.float32), new, (empty, empty), lengths)[0]
    share = output[0, ..., 0].reshape(-1).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(share) - np.log1p(-share)


class _CanonicalRunner:
    """Runs a region on arrays with one axis per role."""

    def __init__(self, runner: RegionRunner, layout: RegionLayout) -> None:
        self.runner, self.layout, self.phase, self.region = runner, layout, runner.phase, runner.region
        batch, kv_heads, size = self.phase.batch_size, layout.num_kv_heads, layout.head_size
        group = layout.num_heads // kv_heads
        self.query_shape = (batch, kv_heads, group, size)
        self.new_shape = (batch, kv_heads, size)
        self.cache_shape = (batch, kv_heads, self.phase.max_len, size)
        self.sizes: dict[AxisRole, int] = {
            "batch": batch,
            "kv_head": kv_heads,
            "group": group,
            "head_size": size,
            "token": self.phase.max_len,
        }
        rounded = (self.region.output, self.region.key.before)
        self.tolerance = max(_TOLERANCE.get(dtype_of(v).name, 0.05) for v in rounded)

    def __call__(
        self,
        query: np.ndarray,
        new: tuple[np.ndarray, np.ndarray],
        caches: tuple[np.ndarray, np.ndarray],
        lengths: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        layout = self.layout
        arrays = [to_layout(query, QUERY_ROLES, layout.query)]
        arrays += [to_layout(x, NEW_ROLES, layout.new) for x in new]
        arrays += [to_layout(x, CACHE_ROLES, layout.cache) for x in caches]
        output, keys, values = self.runner(arrays, lengths)
        return (
            from_layout(output, layout.output, QUERY_ROLES, self.sizes),
            from_layout(keys, layout.cache, CACHE_ROLES, self.sizes),
            from_layout(values, layout.cache, CACHE_ROLES, self.sizes),
        )


def _random_operands(runner: _CanonicalRunner, generator: np.random.Generator) -> _Operands:
    """Returns random q, k, v and caches in the region's dtypes, so that the reference sees what the region sees."""

    def draw(shape: tuple[int, ...], like: Var) -> np.ndarray:
        return generator.standard_normal(shape, np.float32).astype(dtype_of(like))

    region = runner.region
    query = draw(runner.query_shape, region.query) * 2
    new = (draw(runner.new_shape, region.key.new), draw(runner.new_shape, region.value.new))
    caches = (draw(runner.cache_shape, region.key.before), draw(runner.cache_shape, region.value.before))
    return query, new, caches


def _large_operands(runner: _CanonicalRunner, scale: float, sign: int, drawn: _Operands) -> _Operands:
    """Returns values as drawn, and q and K whose logits are all large: the new token's is the largest, by a gap.

    Weights then are all on the new token, unless logits are bounded. With ``sign`` -1 all logits are negative.
    """
    query = np.zeros_like(drawn[0])
    new, caches = ((keys.copy(), values) for keys, values in drawn[1:])
    query[..., 0] = _LARGE_QUERY
    operands = (runner.region.query, runner.region.key.before)
    is_half = any(dtype_of(v).name == "float16" for v in operands)
    logit = min(_LARGE_LOGIT, _FLOAT16_PRODUCT * scale) if is_half else _LARGE_LOGIT
    size = logit / (_LARGE_QUERY * scale)
    best, second = (1.0, 1 - _GAP) if sign > 0 else (_GAP - 1, -1.0)
    slots = np.arange(runner.phase.max_len)
    new[0][..., 0] = best * size
    caches[0][..., 0] = size * (np.where(slots % 2 == 0, second, -1.0))
    return query, new, caches


def _compare(
    runner: _CanonicalRunner,
    rule: LogitRule,
    lengths: np.ndarray,
    query: np.ndarray,
    new: tuple[np.ndarray, np.ndarray],
    caches: tuple[np.ndarray, np.ndarray],
) -> None:
    region = runner.region
    output, keys, values = runner(query, new, caches, lengths)
    rows = np.arange(runner.phase.batch_size)
    expected = []
    for cache, fresh, use in zip(caches, new, (region.key, region.value), strict=True):
        updated = cache.astype(np.float32)
        updated[rows, :, lengths] = fresh.astype(dtype_of(use.before))
        expected.append(updated)
    tolerance = runner.tolerance
    for name, got, want in (("K", keys, expected[0]), ("V", values, expected[1])):
        if not (np.array_equal(got, want) or np.allclose(got, want, atol=tolerance)):
            raise ValidationError(f"it does not append one token at the next position of the {name} cache")
    products = np.einsum("bkgd,bksd->bkgs", query.astype(np.float32), expected[0])
    slopes = None if rule.slopes is None else np.reshape(rule.slopes, (1, *runner.query_shape[1:3], 1))
    weights = rule.weights(products, lengths[:, None, None, None], slopes)
    reference = np.einsum("bkgs,bksd->bkgd", weights, expected[1])
    error = float(np.abs(output - reference).max())
    if not error <= tolerance * max(1.0, float(np.abs(reference).max())):
        raise ValidationError(f"it differs from {rule} by {error:.2g} on random inputs")
