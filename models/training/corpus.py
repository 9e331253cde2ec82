"""The text of Python's standard library as installed, split by module into training and held-out text.

Modules are grouped with their tests (``json/encoder.py`` and ``test/test_json/test_fail.py`` are both
``json``), and a group is held out or not as a hash of its name says. So the split is the same in every
Python, and no test of a held-out module is trained on.
"""

import hashlib
import sysconfig
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from models.training.vocabulary import BEGIN, END

NUM_BUCKETS = 16
HELD_OUT_BUCKET = 8
"""Of 16 buckets of group names; holds ast, codecs, enum, string, threading and others, 3.6 % of the bytes."""

EXCLUDED = ("site-packages", "dist-packages", "encodings", "pydoc_data", "__pycache__")
"""Folders left out: other people's packages, and generated tables."""

TEST_FOLDERS = ("test", "tests", "idle_test")


@dataclass(frozen=True, slots=True)
class Document:
    """One source file.

    Attributes:
        path: Relative to the library, with forward slashes.
        text: Contents.
    """

    path: str
    text: bytes


@dataclass(frozen=True)
class Corpus:
    """Source files for training and for evaluation.

    Attributes:
        train: Sorted by path.
        held_out: Sorted by path; tests are left out.
    """

    train: tuple[Document, ...]
    held_out: tuple[Document, ...]

    @cached_property
    def train_bytes(self) -> int:
        """Bytes of training text."""
        return sum(len(document.text) for document in self.train)

    @cached_property
    def held_out_bytes(self) -> int:
        """Bytes of held-out text."""
        return sum(len(document.text) for document in self.held_out)


def read_corpus(library: Path | None = None) -> Corpus:
    """Reads every source file of the standard library that is UTF-8.

    Args:
        library: Folder of the library; that of the running Python by default.
    """
    root = Path(sysconfig.get_paths()["stdlib"]) if library is None else library
    train: list[Document] = []
    held_out: list[Document] = []
    for file in sorted(root.rglob("*.py")):
        relative = file.relative_to(root)
        if any(part in EXCLUDED or part.startswith("_sysconfigdata") for part in relative.parts):
            continue
        text = file.read_bytes()
        if not text.strip() or not _is_utf8(text):
            continue
        document = Document(relative.as_posix(), text)
        if not is_held_out(relative):
            train.append(document)
        elif not any(part in TEST_FOLDERS for part in relative.parts):
            held_out.append(document)
    return Corpus(tuple(train), tuple(held_out))


def is_held_out(module: Path) -> bool:
    """Returns whether a file's group is kept from training.

    Args:
        module: Path relative to the library.
    """
    digest = hashlib.sha256(group_of(module).encode()).digest()
    return int.from_bytes(digest[:4], "big") % NUM_BUCKETS == HELD_OUT_BUCKET


def group_of(module: Path) -> str:
    """Returns the name that a module shares with its tests and its accelerator's fallback.

    Args:
        module: Path relative to the library.
    """
    parts = [part for part in module.with_suffix("").parts if part not in TEST_FOLDERS]
    return parts[0].removeprefix("test_").lstrip("_") if parts else "test"


def token_stream(documents: tuple[Document, ...], rng: np.random.Generator) -> np.ndarray:
    """Returns all documents in random order, each between its special tokens: uint16[num_tokens]."""
    order = rng.permutation(len(documents))
    pieces: list[np.ndarray] = []
    for index in order:
        text = np.frombuffer(documents[index].text, np.uint8).astype(np.uint16)
        pieces += [np.array([BEGIN], np.uint16), text, np.array([END], np.uint16)]
    return np.concatenate(pieces)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
