"""Holds a budget's choice against text that it was not made on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from models import Transformer
from models.accuracy.evaluate import Report
from models.accuracy.excerpts import digest_of, take_excerpts
from models.accuracy.weights_digest import weights_sha256
from partitioner.accuracy.choose_sparsity import (
    AccuracyChoice,
    choose_sparsity,
    entries_read,
    layer_compressions,
)
from partitioner.accuracy.sensitivities import Sensitivities
from partitioner.errors import AccuracyError
from partitioner.sparsity import sparsity_text
from runtime.cli.accuracy.measure import evaluate_layers
from runtime.cli.accuracy.study import StudySize
from runtime.cli.accuracy.texts import Texts
from runtime.cli.accuracy.ways import FlashPages
from runtime.cli.given_model import tokenizer_of


@dataclass(frozen=True)
class BudgetCheck:
    """A choice, and what it costs on other text.

    Attributes:
        model: Name.
        chosen_on: Text that the losses were measured on.
        checked_on: Text of the check.
        text_sha256: Hash of its tokens, in hex.
        excerpts: Pieces of it.
        prompt_len: Tokens of each that attend exactly.
        context: Tokens of each in all.
        choice: What was chosen.
        loss: What it loses on the text of the check, in bits per token, relative to exact attention.
        loss_error: Standard error of that; infinite for a single excerpt.
        entries: Entries of K and V read, relative to exact attention.
        pages: Flash pages of 4 KiB read, likewise.
    """

    model: str
    chosen_on: str
    checked_on: str
    text_sha256: str
    excerpts: int
    prompt_len: int
    context: int
    choice: AccuracyChoice
    loss: float
    loss_error: float
    entries: float
    pages: float

    @property
    def holds(self) -> bool:
        """Whether the loss is within the budget."""
        return self.loss <= self.choice.budget

    def __str__(self) -> str:
        """Returns the check in words."""
        layers = sparsity_text(self.choice.sparsity) or "all layers exact"
        return "\n".join(
            (
                f"{self.model}, budget {self.choice.budget:.2%} of exact attention's bits per token",
                f"chosen on   {self.chosen_on}",
                f"layers      {layers}",
                f"predicted   at most {self.choice.predicted_loss:.2%} more bits per token",
                f"checked on  {self.checked_on}: {self.excerpts} excerpts of {self.context} tokens, the last "
                f"{self.context - self.prompt_len} of each",
                f"measured    {self.loss:.2%} +- {self.loss_error:.2%} more bits per token: "
                f"{'within' if self.holds else 'BEYOND'} the budget",
                f"read        {self.entries:.1%} of the bytes of K and V, {self.pages:.1%} of the flash pages of 4 KiB",
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON."""
        return {**asdict(self), "choice": self.choice.to_dict(), "holds": self.holds}


def check_choice(
    model: Transformer,
    measured: Sensitivities,
    texts: Texts,
    budget: float,
    size: StudySize,
    report: Report,
) -> BudgetCheck:
    """Chooses under a budget, and evaluates the choice.

    Args:
        model: The model, with a tokenizer.
        measured: What its layers lose.
        texts: Text that the losses were not measured on.
        budget: Largest loss in bits per token, relative to exact attention.
        size: How much is evaluated.
        report: Told of the progress.

    Raises:
        AccuracyError: The losses were measured with other weights, or on this text.
    """
    if measured.weights_sha256 != weights_sha256(model):
        raise AccuracyError(
            f"the losses of {measured.model!r} were measured with other weights than these; measure this model with "
            "'instinfer accuracy --sensitivities'"
        )
    encode = tokenizer_of(model).encode
    excerpts = take_excerpts(texts.texts, encode, context=size.context, count=size.excerpts)
    if digest_of(excerpts) == measured.text_sha256:
        raise AccuracyError("the losses were measured on this very text; give another one with --text")
    choice = choose_sparsity(measured, budget, entries_read(measured.head_size, size.context))
    pages = FlashPages(model.config, size.prompt_len, size.context)
    layers = layer_compressions(choice.sparsity, measured.num_layers)
    found = evaluate_layers(model, excerpts, layers, pages, report)
    assert found.pages is not None
    return BudgetCheck(
        model=model.config.name,
        chosen_on=measured.text,
        checked_on=texts.origin,
        text_sha256=digest_of(excerpts),
        excerpts=len(excerpts),
        prompt_len=size.prompt_len,
        context=size.context,
        choice=choice,
        loss=found.loss,
        loss_error=found.loss_error,
        entries=float(found.entries.mean()),
        pages=float(found.pages.mean()),
    )
