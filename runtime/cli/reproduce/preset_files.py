"""Puts fitted software into the presets that have a table of it."""

from __future__ import annotations

import dataclasses
import re
from importlib.resources import files
from pathlib import Path

from cost_models import HardwareError, SoftwareSpec
from cost_models.hardware_file import parse

FOLDER = Path(str(files("cost_models") / "presets"))
NAMES = ("paper-a6000-csd", "paper-2xa6000-csd")
_DIGITS = 4
"""Digits of a fitted value; the published figures have three or four."""


def rounded(software: SoftwareSpec) -> SoftwareSpec:
    """Returns software with the digits that files have."""
    values = {f.name: float(f"{getattr(software, f.name):.{_DIGITS}g}") for f in dataclasses.fields(software)}
    return SoftwareSpec(**values)


def with_software(text: str, software: SoftwareSpec, file: str) -> str:
    """Returns the text of a hardware description with other values in its software table; sources stay.

    Raises:
        HardwareError: The text lacks a value, or does not read back.
    """
    for field in dataclasses.fields(software):
        value = f"{getattr(software, field.name):.{_DIGITS}g}"
        number = value if any(c in value for c in ".e") else f"{value}.0"
        text, count = re.subn(rf"(?m)^({field.name} = {{ value = )[^,]+,", rf"\g<1>{number},", text)
        if count != 1:
            raise HardwareError(f"{file} has no line '{field.name} = {{ value = ...' to change; restore it")
    if parse(text, file).software != software:
        raise HardwareError(f"{file} does not read back as what was fitted; round the values first")
    return text


def write_presets(software: SoftwareSpec, folder: Path = FOLDER) -> None:
    """Writes software into both presets, or into none.

    Raises:
        HardwareError: A file cannot be read or written.
    """
    try:
        paths = [folder / f"{name}.toml" for name in NAMES]
        texts = [with_software(p.read_text(encoding="utf-8"), software, p.name) for p in paths]
        drafts = [path.with_suffix(".draft") for path in paths]
        for draft, text in zip(drafts, texts, strict=True):
            draft.write_text(text, encoding="utf-8")
        for draft, path in zip(drafts, paths, strict=True):
            draft.replace(path)
    except OSError as error:
        raise HardwareError(
            f"cannot write the presets in {str(folder)!r}: {error.strerror or error}; use --dry-run and copy the values, or "
            "install the package where it can be written"
        ) from None
