"""Retrieval: one line of a long prompt is asked for behind it.

The task is that of :mod:`models.training.recall`: ``key_7f3a = 0x91c2`` somewhere, other keys elsewhere, and
``assert key_7f3a == 0x91c2`` at the end. The prompt attends exactly; the question and its answer come after it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax import numpy as jnp

from models.accuracy.decode_layer import AttentionMethod
from models.accuracy.teacher_forced import decode, predict, prefill
from models.errors import EvaluationError
from models.training.recall import definition_of, question_of
from models.transformer import Transformer

NUM_OTHERS = 3
"""Other keys that are defined at random places, so that the key has to be read and not only found: a choice."""

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True, eq=False)
class Needles:
    """Texts of one length whose needle lies at one depth.

    Attributes:
        depth: Share of the prompt before the needle.
        prompt: int32 ``[n, P]``.
        question: int32 ``[n, Q]``, question and answer.
        num_answer: Tokens at the end of the question that are the answer.
    """

    depth: float
    prompt: np.ndarray
    question: np.ndarray
    num_answer: int

    @property
    def context(self) -> int:
        """Tokens in all."""
        return self.prompt.shape[1] + self.question.shape[1]


def make_needles(
    rng: np.random.Generator, encode: Encode, filler: str, *, context: int, depth: float, count: int
) -> Needles:
    """Returns texts of ``context`` tokens.

    Args:
        rng: Source of keys, values and places.
        encode: Gives the tokens of a text.
        filler: Text whose lines surround the needle.
        context: Tokens of every text.
        depth: Share of the prompt before the needle: 0 at its beginning, 1 at its end.
        count: How many texts.

    Raises:
        EvaluationError: The context has no room for the question, or the filler is too short for it.
    """
    made: list[tuple[list[int], list[int], int]] = []
    lines = filler.splitlines(keepends=True)
    while len(made) < count:
        keys = rng.choice(1 << 16, size=1 + NUM_OTHERS, replace=False)
        values = rng.integers(1 << 16, size=1 + NUM_OTHERS)
        asked = question_of(int(keys[0]), int(values[0])).text.decode().rstrip("\n")
        start, answer = asked[:-4], asked[-4:]
        question, digits = list(encode(start)), list(encode(answer))
        defined = [
            list(encode(definition_of(int(k), int(v)).text.decode()))
            for k, v in zip(keys, values, strict=True)
        ]
        room = context - len(question) - len(digits) - sum(map(len, defined))
        if room < 0:
            raise EvaluationError(
                f"a context of {context} tokens has no room for {1 + NUM_OTHERS} definitions and a question; "
                f"give one of {context - room} or more"
            )
        around = _filler(rng, encode, lines, room)
        made.append((_placed(rng, around, defined, depth), question + digits, len(digits)))
        if len({(len(q), n) for _, q, n in made}) > 1:
            made.pop()  # keys of another number of tokens; texts of one batch are equally long
    return Needles(
        depth,
        np.array([prompt for prompt, _, _ in made], np.int32),
        np.array([question for _, question, _ in made], np.int32),
        made[0][2],
    )


def found_digits(
    model: Transformer, needles: Needles, methods: Sequence[Sequence[AttentionMethod]]
) -> list[np.ndarray]:
    """Returns which answer tokens greedy decoding gives: bool ``[n, num_answer]`` for each way to attend.

    The tokens before each are the right ones; where all are found, greedy decoding gives the whole answer.

    Args:
        model: The model.
        needles: Texts.
        methods: Ways to attend, each a method for every layer.
    """
    rows = [prefill(model, jnp.asarray(row[None])) for row in needles.prompt]  # one by one, to bound memory
    prompt = jax.tree.map(lambda *row: jnp.concatenate(row), *rows)
    inputs, targets = needles.question[:, :-1], needles.question[:, 1:]
    found: list[np.ndarray] = []
    for layers in methods:
        predicted = predict(model, decode(model, prompt, jnp.asarray(inputs), layers), targets)
        found.append((predicted.likeliest == targets)[:, -needles.num_answer :])
    return found


def _filler(rng: np.random.Generator, encode: Encode, lines: Sequence[str], room: int) -> list[list[int]]:
    """Returns consecutive lines of the filler, as tokens, ``room`` tokens in all; the first one may lack its beginning."""
    taken: list[list[int]] = []
    at = int(rng.integers(max(1, len(lines))))
    left = room
    for offset in range(len(lines)):
        if left == 0:
            return taken
        tokens = list(encode(lines[(at - offset) % len(lines)]))[-left:]
        taken.insert(0, tokens)
        left -= len(tokens)
    if left:
        raise EvaluationError(f"the filler has {left} tokens less than the context needs; give a longer text")
    return taken


def _placed(
    rng: np.random.Generator, around: Sequence[list[int]], defined: Sequence[list[int]], depth: float
) -> list[int]:
    """Returns the tokens of the prompt: the first definition at the line next to its depth, the others anywhere."""
    ends = np.cumsum([0, *map(len, around)])
    needle = int(np.argmin(np.abs(ends - depth * ends[-1])))
    places = [needle, *rng.integers(len(around) + 1, size=len(defined) - 1)]
    prompt: list[int] = []
    for line in range(len(around) + 1):
        here = [tokens for place, tokens in zip(places, defined, strict=True) if place == line]
        if depth == 1:
            here.reverse()  # the needle behind all others
        prompt += [token for tokens in here for token in tokens]
        prompt += around[line] if line < len(around) else []
    return prompt
