"""The study: every method at every ratio on text and on retrieval."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models import Transformer
from models.accuracy.evaluate import EXACT, Evaluated, Report, evaluate
from models.accuracy.excerpts import Excerpt, digest_of, take_excerpts
from models.accuracy.needle import found_digits, make_needles
from runtime.bench_machine import Machine, this_machine
from runtime.cli.accuracy.texts import Texts
from runtime.cli.accuracy.ways import FlashPages, Way
from runtime.cli.given_model import tokenizer_of

NOTABLE_LOSS = 0.01
"""Loss in bits per token beyond which a row is marked, a choice: that of the default budget."""

NEEDLE_CONTEXTS = (256, 512, 1024, 2048)
NEEDLE_DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class TextRow:
    """One way to attend on text.

    Attributes:
        method: Name.
        ratio: Nominal share of the entries that is read.
        bits_per_token: Mean.
        bits_per_byte: Mean.
        loss: Bits per token lost against exact attention, relative to its own.
        loss_error: Standard error of the loss over excerpts; None for a single one.
        agreement: Share of tokens that are likeliest here and with exact attention.
        entries: Entries of K and V read, relative to exact attention.
        pages: Flash pages read, relative to exact attention; None where no drive attends so.
    """

    method: str
    ratio: str
    bits_per_token: float
    bits_per_byte: float
    loss: float
    loss_error: float | None
    agreement: float
    entries: float
    pages: float | None

    @property
    def is_notable(self) -> bool:
        """Whether the loss is beyond :data:`NOTABLE_LOSS`."""
        return self.loss > NOTABLE_LOSS


@dataclass(frozen=True)
class NeedleRow:
    """One way to attend on retrieval at one depth of one context length.

    Attributes:
        method: Name.
        ratio: Nominal share of the entries that is read.
        context: Tokens.
        depth: Share of the prompt before the needle.
        answers: Share of answers of which greedy decoding finds every token.
        digits: Share of the answers' tokens that are found, those before them given.
    """

    method: str
    ratio: str
    context: int
    depth: float
    answers: float
    digits: float


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes:
        model: Name.
        text: Origin of the text.
        text_sha256: Hash of the tokens evaluated on.
        python: Version whose library was read, where it was.
        excerpts: Pieces of text.
        prompt_len: Tokens of each that attend exactly.
        context: Tokens of each in all.
        needles: Retrieval texts per depth and context length.
        text_rows: By method and ratio.
        needle_rows: By context, depth, method and ratio.
        seconds: What the study took.
        machine: Where it ran.
    """

    model: str
    text: str
    text_sha256: str
    python: str
    excerpts: int
    prompt_len: int
    context: int
    needles: int
    text_rows: tuple[TextRow, ...]
    needle_rows: tuple[NeedleRow, ...]
    seconds: float
    machine: Machine

    def retrieval(self, method: str, ratio: str) -> float | None:
        """Returns the share of answers found over all depths and contexts; None without retrieval."""
        rows = [row.answers for row in self.needle_rows if (row.method, row.ratio) == (method, ratio)]
        return sum(rows) / len(rows) if rows else None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON."""
        return {**asdict(self), "machine": self.machine.to_dict()}


@dataclass(frozen=True)
class StudySize:
    """How much is evaluated.

    Attributes:
        context: Tokens of a text.
        prompt_len: Tokens of it that attend exactly.
        excerpts: Pieces of text.
        needles: Retrieval texts per depth and context length.
    """

    context: int
    prompt_len: int
    excerpts: int
    needles: int


def run_study(
    model: Transformer,
    texts: Texts,
    ways: Sequence[Way],
    size: StudySize,
    clock: Callable[[], float],
    report: Report,
) -> Study:
    """Evaluates a model.

    Args:
        model: The model, with a tokenizer.
        texts: What to evaluate on.
        ways: Exact attention, then others.
        size: How much.
        clock: Returns seconds.
        report: Told of the progress.

    Raises:
        EvaluationError: No text is long enough.
    """
    begun = clock()
    encode = tokenizer_of(model).encode
    excerpts = take_excerpts(texts.texts, encode, context=size.context, count=size.excerpts)
    return Study(
        model=model.config.name,
        text=texts.origin,
        text_sha256=digest_of(excerpts),
        python=platform.python_version(),
        excerpts=len(excerpts),
        prompt_len=size.prompt_len,
        context=size.context,
        needles=size.needles,
        text_rows=_text_rows(model, excerpts, ways, size, report),
        needle_rows=_needle_rows(model, texts, ways, size, report),
        seconds=round(clock() - begun, 1),
        machine=this_machine(),
    )


def _text_rows(
    model: Transformer, excerpts: Sequence[Excerpt], ways: Sequence[Way], size: StudySize, report: Report
) -> tuple[TextRow, ...]:
    layers = {way.name: (way.attention,) * len(model.blocks) for way in ways if way.method != EXACT}
    shape = FlashPages(model.config, size.prompt_len, size.context).of(None)
    found = evaluate(model, excerpts, layers, prompt_len=size.prompt_len, shape=shape, report=report)
    tokens_per_byte = _tokens_per_byte(model, excerpts, size)
    return tuple(_text_row(way, found[way.name], tokens_per_byte) for way in ways)


def _text_row(way: Way, found: Evaluated, tokens_per_byte: float) -> TextRow:
    bits = float(found.bits.mean())
    return TextRow(
        method=way.method,
        ratio=way.ratio,
        bits_per_token=bits,
        bits_per_byte=bits * tokens_per_byte,
        loss=found.loss,
        loss_error=found.loss_error if np.isfinite(found.loss_error) else None,
        agreement=float(found.agreement.mean()),
        entries=float(found.entries.mean()),
        pages=None if found.pages is None else float(found.pages.mean()),
    )


def _tokens_per_byte(model: Transformer, excerpts: Sequence[Excerpt], size: StudySize) -> float:
    """Returns the predicted tokens over the bytes of their text."""
    decode = tokenizer_of(model).decode
    predicted = [excerpt.tokens[size.prompt_len + 1 :].tolist() for excerpt in excerpts]
    num_bytes = sum(len(decode(tokens).encode("utf-8")) for tokens in predicted)
    return sum(map(len, predicted)) / num_bytes


def _needle_rows(
    model: Transformer, texts: Texts, ways: Sequence[Way], size: StudySize, report: Report
) -> tuple[NeedleRow, ...]:
    rng = np.random.default_rng(0)
    encode = tokenizer_of(model).encode
    methods = [(way.attention,) * len(model.blocks) for way in ways]
    contexts = [context for context in NEEDLE_CONTEXTS if context <= size.context] if size.needles else []
    rows: list[NeedleRow] = []
    for number, context in enumerate(contexts):
        for place, depth in enumerate(NEEDLE_DEPTHS):
            report("retrieval", number * len(NEEDLE_DEPTHS) + place, len(contexts) * len(NEEDLE_DEPTHS))
            needles = make_needles(
                rng, encode, texts.joined, context=context, depth=depth, count=size.needles
            )
            for way, found in zip(ways, found_digits(model, needles, methods), strict=True):
                answers = float(found.all(axis=1).mean())
                rows.append(NeedleRow(way.method, way.ratio, context, depth, answers, float(found.mean())))
    report("retrieval", 1, 1)
    return tuple(rows)
