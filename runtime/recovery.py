"""What a fault of a drive costs a generation, and which faults one can go on after."""

from __future__ import annotations

from dataclasses import dataclass, replace

from runtime.csd import CapacityError, DriveError, MediaError
from runtime.csd.errors import DriveTimeout


@dataclass(frozen=True)
class Recovery:
    """A fault in the middle of a generation, after which it went on.

    Attributes:
        drive: Where it happened, by the name that the drive began with.
        fault: What happened.
        given_up: Whether the generation went on without the drive.
        begin_s: When the step that failed could begin, in seconds since the start of the generation.
        resumed_s: When everything that was lost was there again.
        tokens_recomputed: Tokens, of prompts and new ones, whose K and V were made again.
    """

    drive: str
    fault: str
    given_up: bool
    begin_s: float
    resumed_s: float
    tokens_recomputed: int

    @property
    def seconds(self) -> float:
        """Returns what the fault cost, from the step that failed until everything was there again."""
        return self.resumed_s - self.begin_s

    def since(self, origin_s: float) -> Recovery:
        """Returns the same with times since ``origin_s``."""
        return replace(self, begin_s=self.begin_s - origin_s, resumed_s=self.resumed_s - origin_s)

    def __str__(self) -> str:
        how = "went on without it" if self.given_up else "went on"
        return (
            f"{self.fault}; recomputed {self.tokens_recomputed} tokens in {self.seconds:.3g} s and {how} "
            f"at {self.resumed_s:.3g} s"
        )


def fault_of(error: BaseException) -> DriveError | None:
    """Returns the fault of a drive behind an error, if it is one that a generation can go on after.

    A page that cannot be read leaves the drive fit for use; a drive that does not answer or is full does not.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MediaError | DriveTimeout | CapacityError) and cause.drive is not None:
            return cause
        cause = cause.__cause__
    return None
