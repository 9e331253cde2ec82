"""What a machine takes to stand in for drives that it does not have.

A drive of a description is emulated: its values are worked out by this machine's cores, and its time is the longer of what the
description says and what that took. A description of real drives alone has no such table, and predictions leave it aside.
"""

import dataclasses
from dataclasses import dataclass

from cost_models.checks import require_non_negative, require_positive


@dataclass(frozen=True, kw_only=True)
class EmulationSpec:
    """Holds what ``instinfer calibrate`` measures of a machine whose drives are emulated, all of them at once.

    Attributes:
        bytes_per_s: Rate at which its cores attend to K and V of all drives together.
        command_s: Seconds of an attention that every drive has a share of, beyond its bytes.
        to_share_s: Seconds from the end of what makes q, k, v to the begin of the last share's command, beyond links.
        from_share_s: Seconds from the end of the last share's command to the begin of what reads the output, beyond links.
        step_s: Seconds from the end of a decode step to the begin of the next, in which a token is chosen and told.
    """

    bytes_per_s: float
    command_s: float
    to_share_s: float
    from_share_s: float
    step_s: float

    def __post_init__(self) -> None:
        require_positive("bytes_per_s", self.bytes_per_s)
        for field in dataclasses.fields(self)[1:]:
            require_non_negative(field.name, getattr(self, field.name))

    def attend_s(self, num_bytes: float) -> float:
        """Returns the seconds until the last drive has attended.

        Args:
            num_bytes: Of K and V, on all drives together.
        """
        return self.command_s + num_bytes / self.bytes_per_s
