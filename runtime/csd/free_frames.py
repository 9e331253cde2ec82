"""Which frames of an arena are free."""

import numpy as np


class FreeFrames:
    """Hands out frame numbers from 0 on, released ones first, so that the highest one follows what is stored.

    Attributes:
        num_touched: Frames that were ever in use; the numbers handed out are below it.
    """

    def __init__(self) -> None:
        self.num_touched = 0
        self._released: list[int] = []

    @property
    def num_used(self) -> int:
        """Frames in use."""
        return self.num_touched - len(self._released)

    def touched_with(self, count: int) -> int:
        """Returns what ``num_touched`` will be once ``count`` more frames are taken."""
        return self.num_touched + max(0, count - len(self._released))

    def take(self, count: int) -> np.ndarray:
        """Returns ``count`` frames, int32 ``[count]``."""
        kept = max(0, len(self._released) - count)
        reused = self._released[kept:]
        del self._released[kept:]
        first = self.num_touched
        self.num_touched += count - len(reused)
        return np.concatenate(
            [np.array(reused, np.int32), np.arange(first, self.num_touched, dtype=np.int32)]
        )

    def release(self, frames: np.ndarray) -> None:
        """Takes frames back."""
        self._released.extend(frames.tolist())
