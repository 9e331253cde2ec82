"""Tokens behind those stored, which an attention of a drive leaves to others."""

import numpy as np

from runtime.csd.checks import check_integers
from runtime.csd.commands import Attend
from runtime.csd.errors import DriveError


def check_newer(command: Attend, count: int) -> np.ndarray:
    """Returns how many tokens of each sequence are attended to elsewhere, int64 ``[count]``; 0 where the command says nothing.

    Raises:
        DriveError: It asks for statistics of a choice among stored tokens, or appends behind tokens that are elsewhere.
    """
    if command.newer is None:
        return np.zeros(count, np.int64)
    if command.sparse is not None:
        raise DriveError(
            "a sparse attention chooses among all tokens of a sequence, and newer ones are elsewhere; attend without sparse, "
            "or store all tokens"
        )
    if command.key is not None or command.value is not None:
        raise DriveError(
            "attend has a new key and value, and newer tokens are elsewhere; write whole pages of tokens, oldest first, and "
            "attend without a new one"
        )
    newer = check_integers("newer", command.newer, count)
    if count and newer.min() < 0:
        raise DriveError(f"newer is {newer.tolist()}; give numbers of at least 0")
    return newer
