"""Reads how sparsely drives are to attend."""

from __future__ import annotations

import re

from partitioner import SparF, WorkloadError
from runtime.cli.one_line_errors import ArgumentError

_RATIO = re.compile(r"(?:1/)?(\d+(?:\.\d+)?)")
_COUNTS = re.compile(r"r=(\d+),k=(\d+)")


def sparsity(text: str | None) -> SparF | None:
    """Returns SparF for ``1/8`` or ``8`` (a ratio by traffic), or for ``r=16,k=128`` (channels and tokens).

    Raises:
        ArgumentError: The text has another form, or the numbers are not accepted.
    """
    if text is None:
        return None
    plain = text.replace(" ", "")
    try:
        if found := _RATIO.fullmatch(plain):
            return SparF.ratio(float(found.group(1)))
        if found := _COUNTS.fullmatch(plain):
            return SparF(int(found.group(1)), int(found.group(2)))
    except WorkloadError as error:
        raise ArgumentError(f"--sparsity {text!r}: {error}") from None
    raise ArgumentError(
        f"--sparsity {text!r} is not accepted; give a ratio such as 1/8, or channels and tokens as r=16,k=128"
    )
