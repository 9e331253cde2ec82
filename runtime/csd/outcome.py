"""What executing a command gave, before it is told as a completion."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """A command's value and times.

    Attributes:
        value: The command's result, or None.
        end_s: When the drive is done with it.
        channel_s: Emulated seconds that the busiest channel carried what it reads or writes.
        engine_s: Emulated seconds of the engine.
    """

    value: Any
    end_s: float
    channel_s: float = 0.0
    engine_s: float = 0.0
