"""A task that needs the whole context: values are assigned to random keys, and asked for later.

Lines such as ``key_7f3a = 0x91c2`` and ``assert key_7f3a == 0x91c2`` are spread over Python text. The digits
after ``0x`` in the second line can only be known by looking back at the first.
"""

from dataclasses import dataclass

import numpy as np

VALUE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class RecallText:
    """A text with questions in it.

    Attributes:
        tokens: uint16[length], byte values.
        is_random: bool[length], digits that nothing before them tells.
        answers: Start of the digits of every answer.
    """

    tokens: np.ndarray
    is_random: np.ndarray
    answers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a text.

    Attributes:
        text: Bytes.
        random_spans: Digits that nothing before them tells.
        answer: Start of the digits that recall tells; None where there are none.
    """

    text: bytes
    random_spans: tuple[tuple[int, int], ...] = ()
    answer: int | None = None


def make_recall_text(rng: np.random.Generator, *, length: int, num_pairs: int, filler: bytes) -> RecallText:
    """Returns a text with a definition and a later question for every pair, at uniformly random places.

    Args:
        rng: Source of keys, values and places.
        length: Bytes of the text; questions that end beyond it are dropped.
        num_pairs: Number of keys.
        filler: Text to spread them over; at least ``length`` bytes, or none for a text of pairs alone.
    """
    keys = rng.choice(1 << 16, size=num_pairs, replace=False)
    values = rng.integers(1 << 16, size=num_pairs)
    room = max(0, length - sum(len(line.text) for line in map(definition_of, keys, values)) * 5 // 2)
    filler_lines = [Line(text) for text in filler[:room].splitlines(keepends=True)]
    placed: list[tuple[float, Line]] = list(
        zip(np.linspace(0, 1, len(filler_lines), endpoint=False), filler_lines, strict=True)
    )
    for key, value in zip(keys, values, strict=True):
        first, second = np.sort(rng.random(2))
        placed += [(first, definition_of(key, value)), (second, question_of(key, value))]
    placed.sort(key=lambda item: item[0])
    return _assemble([line for _, line in placed], length)


def definition_of(key: int, value: int) -> Line:
    """Returns the line that gives a key its value."""
    return Line(b"key_%04x = 0x%04x\n" % (key, value), ((4, 8), (13, 17)))


def question_of(key: int, value: int) -> Line:
    """Returns the line that repeats the value of a key."""
    return Line(b"assert key_%04x == 0x%04x\n" % (key, value), ((11, 15),), 21)


def _assemble(lines: list[Line], length: int) -> RecallText:
    text = bytearray()
    is_random = np.zeros(length, bool)
    answers: list[int] = []
    for line in lines:
        for start, end in line.random_spans:
            is_random[len(text) + start : len(text) + end] = True
        if line.answer is not None and len(text) + line.answer + VALUE_DIGITS <= length:
            answers.append(len(text) + line.answer)
        text += line.text if line.text.endswith(b"\n") else line.text + b"\n"
    text += b"\n" * (length - len(text))
    tokens = np.frombuffer(bytes(text[:length]), np.uint8).astype(np.uint16)
    return RecallText(tokens, is_random, tuple(answers))
