"""Made-up losses."""

from typing import Any

from partitioner.accuracy.sensitivities import Sensitivities


def sensitivities(losses: Any, **changes: Any) -> Sensitivities:
    rows = tuple(tuple(map(float, row)) for row in losses)
    values: dict[str, Any] = {
        "model": "small",
        "weights_sha256": "00",
        "head_size": 8,
        "text": "none",
        "text_sha256": "11",
        "date": "2026-01-01",
        "versions": (("jax", "0"),),
        "prompt_len": 32,
        "context": 64,
        "excerpts": 2,
        "exact_bits_per_token": 1.0,
        "compressions": (2.0, 4.0, 8.0)[: len(rows[0])],
        "losses": rows,
        "errors": tuple((0.0,) * len(row) for row in rows),
    }
    return Sensitivities(**{**values, **changes})
