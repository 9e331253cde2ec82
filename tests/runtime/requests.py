"""Random requests, and what each gets from the plain model alone."""

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import numpy as np

from runtime import Request, Sampling
from runtime.sampling import sample
from runtime.sampling_settings import RowSettings
from tests.runtime.tiny_models import VOCAB, WORKLOAD, PlainRow

SAMPLINGS = (
    Sampling(),
    Sampling(0.8, 40, 0.95, 7),
    Sampling(1.3, None, 0.9, 3),
    Sampling(0.6, 5, seed=2**32 - 1),
)


def random_requests(count: int, seed: int = 0) -> list[Request]:
    """Draws lengths, numbers of tokens, sampling, and for some a few tokens that end them."""
    draw = random.Random(seed)
    return [
        Request(
            [draw.randrange(VOCAB) for _ in range(draw.randint(1, WORKLOAD.prompt_len))],
            draw.randint(1, WORKLOAD.decode_len),
            draw.choice(SAMPLINGS),
            draw.choice([None, draw.sample(range(VOCAB), 12)]),
        )
        for _ in range(count)
    ]


@cache
def _sample() -> Any:
    return jax.jit(sample)


def alone(model: Any, request: Request, max_len: int = WORKLOAD.max_len) -> tuple[list[int], str]:
    """Returns the tokens of a request and why it ends, from nothing but the model and ``jax.jit``, token by token."""
    row, made = PlainRow(model, max_len), list[int]()
    fed = [int(token) for token in request.prompt]
    settings = RowSettings.of([request.sampling], [len(fed)])
    endings: Sequence[int] = () if request.eos is None else request.eos  # pyright: ignore[reportAssignmentType]
    for token in fed[:-1]:
        row.feed(token)
    newest = fed[-1]
    for _ in range(request.max_new_tokens):
        logits, at = row.feed(newest), np.zeros(1, np.int32)
        newest = int(_sample()(logits, at, np.array([row.length], np.int32), settings)[0])
        made.append(newest)
        if newest in endings:
            return made, "eos"
    return made, "length"
