"""Faults of a drive: what goes wrong in its flash, how often, and when it stops answering."""

from dataclasses import dataclass

from cost_models.checks import reject, require_count, require_probability

PAPER_WORST_RETRIES_MEAN = 0.003
"""Retries of a page read, the worst mean that was measured (InstInfer, arXiv 2409.04992, endurance)."""
PAPER_WORST_RETRIES_MAX = 5
"""Most retries of one page read in the same measurement."""


@dataclass(frozen=True, kw_only=True)
class FaultSpec:
    """The faults of one drive; the values that are left out stand for a drive without that fault.

    Everything is drawn from the seed and the drive's name, so that equal drives fail at different places, and each in the
    same place in every run that gives it the same commands.

    Attributes:
        seed: Where the drawing starts.
        read_retries_mean: Retries of a page read, on average; a retry senses and transfers the page once more.
        read_retries_max: Most retries of one page read.
        uncorrectable_per_page_read: Chance that a page read finds more wrong bits than can be corrected: its data is lost.
        program_failure_per_page: Chance that programming a page fails: it goes elsewhere, and its block is retired.
        worn_blocks: Share of the blocks that come worn: their next erase is the last that they are rated for.
        stop_after_commands: Commands that the drive answers before it stops for good; None: it never stops.
    """

    seed: int = 0
    read_retries_mean: float = 0.0
    read_retries_max: int = PAPER_WORST_RETRIES_MAX
    uncorrectable_per_page_read: float = 0.0
    program_failure_per_page: float = 0.0
    worn_blocks: float = 0.0
    stop_after_commands: int | None = None

    def __post_init__(self) -> None:
        require_count("seed", self.seed, minimum=0)
        require_count("read_retries_max", self.read_retries_max, minimum=0)
        mean, most = self.read_retries_mean, self.read_retries_max
        if not isinstance(mean, int | float) or isinstance(mean, bool) or not 0 <= mean <= most:
            raise reject("read_retries_mean", mean, f"a number from 0 to read_retries_max, which is {most}")
        for name in ("uncorrectable_per_page_read", "program_failure_per_page", "worn_blocks"):
            require_probability(name, getattr(self, name))
        if self.program_failure_per_page == 1:
            raise reject("program_failure_per_page", 1, "a number below 1: some pages must be programmable")
        if self.stop_after_commands is not None:
            require_count("stop_after_commands", self.stop_after_commands, minimum=0)

    @property
    def description(self) -> str:
        """Those that can happen, in words."""
        chances = (
            (self.read_retries_mean, f"{self.read_retries_mean:g} retries a page read, {self.read_retries_max} at most"),
            (self.uncorrectable_per_page_read, f"{self.uncorrectable_per_page_read:g} of page reads uncorrectable"),
            (self.program_failure_per_page, f"{self.program_failure_per_page:g} of page programs fail"),
            (self.worn_blocks, f"{self.worn_blocks:g} of blocks come worn"),
            (self.stop_after_commands is not None, f"stops after {self.stop_after_commands} commands"),
        )  # fmt: skip
        return ", ".join(text for chance, text in chances if chance) or "none"
