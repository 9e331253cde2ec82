"""What a plan writes to flash, and how long the drives last at the predicted throughput, run day and night.

A drive programs whole pages: the tokens of one KV head that do not fill a page wait in drive memory, or in a window of newest
tokens in host memory, and are not programmed if the generation ends before. All prompts are
taken to be as long as the longest. Every byte of K and V is programmed once (see :mod:`cost_models.endurance`), and K a second
time where drives attend sparsely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cost_models import (
    RELAXED_RETENTION,
    DriveSpec,
    drive_writes_per_day,
    life_years,
    lifetime_bytes,
)
from partitioner.jaxpr import itemsize

if TYPE_CHECKING:
    from partitioner.plan.plan import Plan


@dataclass(frozen=True)
class DriveWear:
    """Holds what one drive takes in.

    Attributes:
        device: ``csd0``, ...
        spec: The drive.
        kv_bytes: K and V of one token of context that the drive keeps, in bytes, over all sequences.
        token_bytes: The same as it is programmed: with the second copy of K where there is one.
        prefill_bytes: Bytes written to its flash by the prefill of one generation.
        decode_bytes: Bytes written to its flash by the decode steps of one generation.
        bytes_per_s: Rate of its writes while one generation follows the other.
    """

    device: str
    spec: DriveSpec
    kv_bytes: float
    token_bytes: float
    prefill_bytes: float
    decode_bytes: float
    bytes_per_s: float

    @property
    def generation_bytes(self) -> float:
        """Returns the bytes written to its flash by one generation."""
        return self.prefill_bytes + self.decode_bytes

    @property
    def writes_per_day(self) -> float:
        """Returns how often its whole capacity is written per day."""
        return drive_writes_per_day(self.spec.flash, self.bytes_per_s)

    def years(self, stretch: float = 1.0) -> float | None:
        """Returns the years until it is worn out; None where no page is ever filled.

        Args:
            stretch: Factor on the rated P/E cycles, such as :data:`cost_models.RELAXED_RETENTION`.
        """
        return life_years(self.spec.flash, self.bytes_per_s, stretch) if self.bytes_per_s else None


@dataclass(frozen=True)
class Endurance:
    """Holds what a plan writes to flash.

    Attributes:
        drives: Those that keep a KV cache, in the hardware's order.
        num_sequences: Sequences of one generation.
        num_new_tokens: New tokens of one generation, of all sequences together.
        copied: Whether some K is kept a second time.
    """

    drives: tuple[DriveWear, ...]
    num_sequences: int
    num_new_tokens: int
    copied: bool

    @property
    def generation_bytes(self) -> float:
        """Returns the bytes that one generation writes to all flash."""
        return sum(drive.generation_bytes for drive in self.drives)

    @property
    def bytes_per_new_token(self) -> float:
        """Returns the bytes written to all flash per new token, those of the prefill shared out over the new tokens."""
        return self.generation_bytes / self.num_new_tokens

    @property
    def bytes_per_kv_token(self) -> float:
        """Returns the K and V of one token of one sequence, of the prompt or new, that the drives keep, in bytes."""
        return sum(drive.kv_bytes for drive in self.drives) / self.num_sequences

    def lifetime_kv_tokens(self, stretch: float = 1.0, copies: float | None = None) -> float:
        """Returns how many tokens, of prompts or new, can be kept until the first drive is worn out.

        Args:
            stretch: Factor on the rated P/E cycles, such as :data:`cost_models.RELAXED_RETENTION`.
            copies: Bytes programmed per byte of K and V; None: as the plan has it, 1 or ``WITH_SECOND_K``.
        """
        programmed = [d.token_bytes if copies is None else copies * d.kv_bytes for d in self.drives]
        lives = [lifetime_bytes(drive.spec.flash, stretch) for drive in self.drives]
        return self.num_sequences * min(life / size for life, size in zip(lives, programmed, strict=True))

    def years(self, stretch: float = 1.0) -> float | None:
        """Returns the years until the first drive is worn out; None where no page is ever filled."""
        found = [years for drive in self.drives if (years := drive.years(stretch)) is not None]
        return min(found, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data: bytes, drive writes per day and years."""
        return {
            "flash_bytes_per_generation": self.generation_bytes,
            "flash_bytes_per_new_token": self.bytes_per_new_token,
            "drive_writes_per_day": {drive.device: drive.writes_per_day for drive in self.drives},
            "years": self.years(),
            "years_weeks_of_retention": self.years(RELAXED_RETENTION),
        }


def endurance(plan: Plan) -> Endurance | None:
    """Returns what a plan writes to flash, or None where no KV cache lives on a drive."""
    prompt = plan.workload.prompt_len if plan.prefill is not None else 0
    repeats = plan.micro_batches
    # the last new token is not fed back, so its K and V are never made
    last = plan.workload.max_len - 1
    raw: dict[str, float] = {}
    tokens: dict[str, float] = {}
    prefills: dict[str, float] = {}
    wholes: dict[str, float] = {}
    copied = False
    for op in plan.ops("decode"):
        if op.attention is None:
            continue
        head_bytes = op.attention.head_size * itemsize(op.attention.cache_dtype)
        for share in plan.caches[op.name]:
            if not share.device.startswith("csd"):
                continue
            flash = plan.hw.drive(share.device).flash
            cache = plan.costing.drive_cache(op.attention)
            copied = copied or cache.copies > 1
            pairs = share.num_rows * share.num_kv_heads * repeats
            _add(raw, share.device, 2 * pairs * head_bytes)
            _add(tokens, share.device, 2 * pairs * head_bytes * cache.copies)
            stored = [n if share.cut is None else share.cut.stored(n) for n in (prompt, last)]
            for amounts, own in zip((prefills, wholes), stored, strict=True):
                _add(amounts, share.device, pairs * cache.written_pages(own) * flash.page_bytes)
    if not tokens:
        return None
    drives = (
        DriveWear(
            device,
            plan.hw.drive(device),
            raw[device],
            tokens[device],
            prefills[device],
            wholes[device] - prefills[device],
            wholes[device] / plan.total_seconds,
        )
        for device in plan.hw.device_names
        if device in tokens
    )
    load = plan.workload
    return Endurance(tuple(drives), load.batch_size, load.batch_size * load.decode_len, copied)


def _add(amounts: dict[str, float], device: str, amount: float) -> None:
    amounts[device] = amounts.get(device, 0.0) + amount
