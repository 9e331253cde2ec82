"""The text that accuracy is measured on: a file, or modules of the standard library that the shipped model never saw."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.training.corpus import read_corpus
from runtime.cli.one_line_errors import ArgumentError

Text = tuple[str, str]
"""Name and contents."""


@dataclass(frozen=True)
class Texts:
    """Texts, and where they come from.

    Attributes:
        origin: For reports.
        texts: Names and contents, the longest first.
    """

    origin: str
    texts: tuple[Text, ...]

    @property
    def joined(self) -> str:
        """Returns all contents, one after the other."""
        return "\n".join(content for _, content in self.texts)

    def halves(self) -> tuple[Texts, Texts]:
        """Returns the texts in two parts that have none in common: every second text, or the two halves of a single one."""
        texts: Sequence[Text] = self.texts
        if len(texts) == 1:
            ((name, content),) = texts
            middle = len(content) // 2
            texts = ((f"{name}, first half", content[:middle]), (f"{name}, second half", content[middle:]))
        first, second = tuple(texts[::2]), tuple(texts[1::2])
        return Texts(f"{self.origin}, one half", first), Texts(f"{self.origin}, the other half", second)


def texts_of(file: Path | None) -> Texts:
    """Returns a file's text, or the held-out modules of the running Python's standard library.

    Raises:
        ArgumentError: The file cannot be read as text.
    """
    if file is None:
        documents = sorted(read_corpus().held_out, key=lambda document: (-len(document.text), document.path))
        return Texts(
            f"held-out modules of the standard library of Python {platform.python_version()}",
            tuple((document.path, document.text.decode("utf-8")) for document in documents),
        )
    try:
        return Texts(file.name, ((file.name, file.read_text(encoding="utf-8")),))
    except OSError as error:
        raise ArgumentError(f"--text: cannot read {str(file)!r}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ArgumentError(f"--text: {str(file)!r} is not text in UTF-8; give a text file") from None
