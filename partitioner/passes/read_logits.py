"""Reads scale, soft cap, slopes and window off the part of a region between its two products.

All that is measured are ratios of weights, whose logarithms are differences of logits. Two tokens tell the scale, the cap and
the slopes; the workload's own length tells the window, and slopes to more digits.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np

from partitioner.jaxpr import Eqn, Literal
from partitioner.passes.logit_rule import LogitRule, ValidationError
from partitioner.passes.run_weights import WeightsRunner

_EXACT = 1e-5
"""Below this rounding (float32 has 6e-8), small contrasts can be measured."""
_SMALL_CONTRAST, _PLAIN_CONTRAST = 0.125, 1.5
"""Logits at which the scale is measured: a cap of 5 takes 2e-4 off the smaller one."""
_SNAP = 1e-3
_LARGEST_LOGIT = 2.0**20
"""Up to which a cap is looked for."""
_BENT = 0.8
"""A difference of logits this much below that of a straight line has a cap to be fitted."""


def read_logits(small: WeightsRunner, full: WeightsRunner, factors: Iterable[float]) -> LogitRule:
    """Returns the rule, its slopes in the order of the rows of weights at full length.

    Args:
        small: The part at few slots, at least 2.
        full: The part at the workload's length.
        factors: Numbers by which the region multiplies or divides.

    Raises:
        ValidationError: No rule of this form describes the weights.
    """
    numbers = sorted(set(factors))
    bias = _bias_step(small)
    scale = _read_scale(small, bias, numbers)
    rule = LogitRule(scale, _read_soft_cap(small, bias, scale, numbers))
    _check_curve(small, bias, rule)
    slopes, window = _read_distances(full, rule)
    return dataclasses.replace(
        rule, slopes=tuple(map(float, slopes)) if slopes.any() else None, window=window
    )


def literal_factors(equations: Iterable[Eqn]) -> set[float]:
    """Returns the numbers by which equations multiply or divide, their inverses, and products of two of them."""
    literals = [
        float(np.asarray(a.val))
        for e in equations
        if e.primitive.name in ("mul", "div")
        for a in e.invars
        if isinstance(a, Literal) and np.size(a.val) == 1 and np.asarray(a.val).dtype.kind == "f"
    ]
    factors = {f for x in literals if x > 0 and np.isfinite(x) for f in (x, 1 / x)}
    return factors | {a * b for a, b in itertools.combinations(factors, 2)}


def _difference(runner: WeightsRunner, older: float, newer: float) -> np.ndarray:
    """Returns by how much the logit of the newer of two tokens exceeds that of the older one, float64 ``[rows]``."""
    products = np.zeros(runner.num_slots)
    products[:2] = older, newer
    weights = runner(products, 1)
    pair = weights[:, :2]
    loose = 0.01 + 8 * runner.epsilon
    if not (np.isfinite(weights).all() and np.abs(weights.sum(-1) - 1).max() <= loose):
        raise ValidationError(
            "its weights of the valid tokens do not sum to 1 (no softmax over the valid tokens)"
        )
    if np.abs(weights[:, 2:]).max(initial=0) > runner.epsilon:
        raise ValidationError("it weighs tokens behind the position (no softmax over the valid tokens)")
    with np.errstate(divide="ignore"):
        return np.log(pair[:, 1]) - np.log(pair[:, 0])


def _bias_step(runner: WeightsRunner) -> np.ndarray:
    """Returns by how much the logit of the newer of two equal tokens exceeds that of the older one, float64 ``[rows]``."""
    found = _difference(runner, 0.0, 0.0)
    if not np.isfinite(found).all():
        raise ValidationError("it gives one of two equal tokens no weight (no softmax over the valid tokens)")
    return found


def _read_scale(runner: WeightsRunner, bias: np.ndarray, factors: list[float]) -> float:
    contrast, estimate = 1.0, 0.0
    wanted = _SMALL_CONTRAST if runner.epsilon < _EXACT else _PLAIN_CONTRAST
    for _ in range(6):
        rise = float(np.median(_difference(runner, 0.0, contrast) - bias))
        if np.isinf(rise):
            if contrast < 1e-6:
                raise ValidationError("its output is not a weighted mean of the values (no softmax)")
            contrast /= 1024
            continue
        if not rise > 0:
            raise ValidationError("its logits do not grow with q.k")
        estimate = rise / contrast
        contrast = min(1e3, wanted / estimate)
    if not estimate:
        raise ValidationError("its output is not a weighted mean of the values (no softmax)")
    return _snapped(estimate, [1.0, *factors], runner)


def _snapped(estimate: float, candidates: list[float], runner: WeightsRunner) -> float:
    """Returns the candidate that an estimate is a measurement of, or the estimate."""
    nearest = min(candidates, key=lambda c: abs(c - estimate), default=estimate)
    return nearest if abs(nearest - estimate) <= max(_SNAP, 16 * runner.epsilon) * estimate else estimate


def _ladder(runner: WeightsRunner, scale: float) -> list[tuple[float, float]]:
    """Returns pairs of products, the second one larger by what weights can tell.

    Both are held exactly by the part's floats, and their difference is at least four times what each may be rounded by.
    """
    largest = min(_LARGEST_LOGIT / scale, runner.largest / 4)
    exponents = range(int(np.floor(np.log2(0.5 / scale))), int(np.floor(np.log2(largest))) + 1)
    finest = min(20, int(-np.log2(runner.epsilon)) - 4)
    pairs = []
    for k in exponents:
        fitting = [j for j in range(3, finest + 1) if scale * 2.0 ** (k - j) <= runner.largest_difference]
        if fitting:
            pairs.append((2.0**k, 2.0**k * (1 + 2.0 ** -fitting[0])))
    return pairs


def _read_soft_cap(
    runner: WeightsRunner, bias: np.ndarray, scale: float, factors: list[float]
) -> float | None:
    for low, high in _ladder(runner, scale):
        line = scale * (high - low)
        rise = float(np.median(_difference(runner, low, high) - bias))
        if rise < _BENT * line:
            estimate = _fitted_cap(scale * low, scale * high, rise)
            return None if estimate is None else _snapped(estimate, factors, runner)
    return None


def _fitted_cap(low: float, high: float, rise: float) -> float | None:
    """Returns c of ``c tanh(high / c) - c tanh(low / c) = rise``, which grows with c; None where no c does that."""
    least, most = low / 16, high * 16

    def of(cap: float) -> float:
        return cap * float(np.tanh(high / cap) - np.tanh(low / cap))

    if not of(least) < rise < of(most):
        return None
    for _ in range(60):
        middle = (least + most) / 2
        least, most = (middle, most) if of(middle) < rise else (least, middle)
    return (least + most) / 2


def _check_curve(runner: WeightsRunner, bias: np.ndarray, rule: LogitRule) -> None:
    """Holds logits of both signs and all sizes against the rule."""
    for low, high in _ladder(runner, rule.scale):
        for sign in (1.0, -1.0):
            ends = rule.capped(np.array([sign * low, sign * high]))
            expected = float(ends[1] - ends[0])
            rise = _difference(runner, sign * low, sign * high) - bias
            noise = 16 * runner.epsilon * max(1.0, float(np.abs(ends).max())) + 1e-3
            if not np.abs(rise - expected).max() <= noise:
                raise ValidationError(
                    f"at large q.K^T, as under a clip, it differs from {rule}: between {sign * low:g} and {sign * high:g} "
                    f"its logits rise by {float(np.median(rise)):.4g}, not {expected:.4g}"
                )


def _read_distances(runner: WeightsRunner, rule: LogitRule) -> tuple[np.ndarray, int | None]:
    """Returns the slopes of all rows and the window, both at the full length.

    Every token is given the product that makes up for its bias, so that all that are seen weigh alike; what is left over tells
    how far a slope is off, the better the farther away the oldest of them is.
    """
    last = runner.num_slots - 1
    slopes = _without_noise(_bias_step(runner), 1, runner)
    position = 1
    while True:
        products = level_products(runner, rule, slopes, position)
        weights = runner(products, position)
        expected = rule.weights(products, np.array([[position]]), slopes[:, None])
        seen = (weights > 0.1 * expected) | (expected < 1e-30)
        seen = seen[:, : position + 1]
        oldest = int(np.argmax(seen.any(0)))
        if not seen[:, oldest:].all() or oldest == position:
            raise ValidationError(not_one_rule(runner))
        window = position + 1 - oldest if oldest else None
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = weights[:, position] / weights[:, oldest], expected[:, position] / expected[:, oldest]
            off = (np.log(ratios[0]) - np.log(ratios[1])) / (position - oldest)
        slopes = slopes + np.where(np.isfinite(off), off, 0.0)
        slopes = _without_noise(slopes, position - oldest, runner)
        if position == last:
            return slopes, window
        position = min(last, 8 * position)


def level_products(runner: WeightsRunner, rule: LogitRule, slopes: np.ndarray, position: int) -> np.ndarray:
    """Returns products, ``[rows, slots]``, that make up for biases as far as a cap allows; ``[slots]`` where there are none."""
    if not slopes.any():
        return np.zeros(runner.num_slots)
    distance = position - np.arange(runner.num_slots)
    wanted = slopes[:, None] * np.maximum(distance, 0)
    if rule.soft_cap is not None:
        wanted = rule.soft_cap * np.arctanh(np.clip(wanted / rule.soft_cap, -0.9, 0.9))
    return runner.round(wanted / rule.scale)


def _without_noise(slopes: np.ndarray, distance: int, runner: WeightsRunner) -> np.ndarray:
    return np.where(np.abs(slopes) * distance <= 8 * runner.epsilon, 0.0, slopes)


def not_one_rule(runner: WeightsRunner) -> str:
    """Returns why a mask or bias is refused."""
    return (
        f"at {runner.num_slots} slots it does not treat all slots before the position by one rule, as a window or a bias that "
        "is linear in the distance does"
    )
