"""Confirms at the workload's length how a region makes weights of q.K^T, which a small probe cannot show.

A window of 4096 tokens is full attention to a probe of a few slots. So the part between the two products is run at full length,
at positions all over the cache and around the window, with products that no token can hide behind: those that are seen weigh
alike, but for a random part, and all others would have the largest logits.
"""

from __future__ import annotations

import numpy as np

from partitioner.passes.logit_rule import LogitRule, ValidationError
from partitioner.passes.read_logits import level_products, not_one_rule
from partitioner.passes.run_weights import WeightsRunner

_HIDDEN_LOGIT = 4096.0
"""Of tokens that are not seen; the smallest number in use for hiding tokens, -10,000, is below its negative."""
_TOLERANCE = 2e-4
"""Relative to the largest weight, what float32 leaves of sums and exponentials."""


def validate_logits(runner: WeightsRunner, rule: LogitRule) -> None:
    """Checks weights at full length.

    Args:
        runner: The part between the products.
        rule: What was read off it; slopes in the order of its rows.

    Raises:
        ValidationError: The rule does not describe them.
    """
    generator = np.random.default_rng(0)
    num_slots = runner.num_slots
    slopes = np.zeros(1) if rule.slopes is None else np.array(rule.slopes)
    near = () if rule.window is None else (rule.window - 2, rule.window - 1, rule.window, 2 * rule.window)
    wanted = {0, 1, num_slots // 3, num_slots // 2, num_slots - 2, num_slots - 1, *near}
    for position in sorted(n for n in wanted if 0 <= n < num_slots):
        products = level_products(runner, rule, slopes, position)
        hidden = ~rule.seen(np.array([position]), num_slots)
        products = np.where(hidden, products + min(_HIDDEN_LOGIT / rule.scale, runner.largest / 4), products)
        products = runner.round(products + generator.standard_normal(num_slots) / rule.scale)
        weights = runner(products, position)
        expected = rule.weights(np.atleast_2d(products), np.array([[position]]), slopes[:, None])
        largest_bias = float(np.abs(slopes).max()) * num_slots
        tolerance = _TOLERANCE + 8 * runner.epsilon * max(8.0, 2 * largest_bias)
        error = np.abs(weights - expected).max() / expected.max()
        if not error <= tolerance:
            raise ValidationError(
                f"{not_one_rule(runner)}; it differs from {rule} by {error:.2g} at token {position}"
            )
