"""How a sparsity is written on the command line."""

import pytest

from partitioner import SparF
from runtime.cli.given_sparsity import sparsity
from runtime.cli.one_line_errors import ArgumentError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, None),
        ("1/8", SparF.ratio(8)),
        ("8", SparF.ratio(8)),
        ("2.5", SparF.ratio(2.5)),
        ("r=16, k=128", SparF(16, 128)),
    ],
)
def test_accepted_forms(text: str | None, found: SparF | None) -> None:
    assert sparsity(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "give a ratio such as 1/8"),
        ("-8", "give a ratio such as 1/8"),
        ("k=128", "channels and tokens as r=16,k=128"),
        ("1/1", "needs a finite number above 1"),
        ("r=0,k=4", "SparF needs r as a whole number of at least 1, got 0"),
    ],
)
def test_other_forms_are_refused(text: str, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        sparsity(text)
