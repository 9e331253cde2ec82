"""Why an op runs where it runs: what it costs on every device, what forbids the others, and the price of moving it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cost_models import Cost


@dataclass(frozen=True)
class SharedPart:
    """Says what the devices of one tier do of attentions that several tiers share, and how long that takes.

    Attributes:
        devices: Span of the tier's devices.
        share: Of batch rows x KV heads.
        alone: Their time to attend.
        in_all: The same with their operands and output on the way.
    """

    devices: str
    share: float
    alone: Cost
    in_all: Cost

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data."""
        return {
            "devices": self.devices,
            "share": self.share,
            "alone_s": self.alone.seconds,
            "bound": self.alone.bound,
            "in_all_s": self.in_all.seconds,
        }


@dataclass(frozen=True)
class Choice:
    """Says what ops of a class would cost on a tier, everything else staying where it is.

    Attributes:
        devices: Span of the tier's devices, such as ``csd0-3``; ``split`` where several tiers share an attention.
        data: How their weights or cache would come to them: they live ``here`` already, are ``moved`` here for good, are
            ``streamed`` for each use, or (what a prefill caches) ``sent`` to where they live; ``-`` if there are none, or the
            ops cannot run there.
        chosen: Whether this is what the plan does.
        alone: Their own time; None where they cannot run.
        in_all: The same with what has to move for them.
        change_s: Change of the seconds of one step (or prefill) against the plan, along the critical path; None likewise.
        obstacles: What forbids it: the kind of op, the policy, missing memory.
        short_bytes: Memory missing for it.
        parts: What each tier does, where several share an attention; it takes as long as the slowest.
    """

    devices: str
    data: str
    chosen: bool
    alone: Cost | None
    in_all: Cost | None
    change_s: float | None
    obstacles: tuple[str, ...] = ()
    short_bytes: float = 0.0
    parts: tuple[SharedPart, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data."""
        return {
            "devices": self.devices,
            "data": self.data,
            "chosen": self.chosen,
            "alone_s": self.alone.seconds if self.alone else None,
            "bound": self.alone.bound if self.alone else None,
            "in_all_s": self.in_all.seconds if self.in_all else None,
            "change_s": self.change_s,
            "obstacles": list(self.obstacles),
            "short_bytes": self.short_bytes,
            "parts": [part.to_dict() for part in self.parts],
        }


@dataclass(frozen=True, eq=False)
class ExplainedClass:
    """Holds ops that differ in their layer numbers alone and are placed alike.

    Attributes:
        name: For people: ``blocks.*.attention``.
        ops: Names, in execution order.
        runs_on: Shares of devices, which sum to 1.
        data: ``KV cache`` or ``weights``; empty if they have neither.
        lives_on: Bytes of it by device.
        choices: What the plan does first, then everything else.
    """

    name: str
    ops: tuple[str, ...]
    runs_on: Mapping[str, float]
    data: str
    lives_on: Mapping[str, float]
    choices: tuple[Choice, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data."""
        return {
            "name": self.name,
            "ops": list(self.ops),
            "runs_on": dict(self.runs_on),
            "data": self.data,
            "lives_on_bytes": dict(self.lives_on),
            "choices": [choice.to_dict() for choice in self.choices],
        }


@dataclass(frozen=True, eq=False)
class Explanation:
    """Holds why an op, or every op of a folded name, runs where it runs.

    Attributes:
        name: As asked for.
        phase: ``prefill`` or ``decode``.
        context_len: Tokens attended over in the decode step, or tokens of a prompt.
        classes: One per way in which the ops are placed.
    """

    name: str
    phase: str
    context_len: int
    classes: tuple[ExplainedClass, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data: seconds and bytes."""
        return {
            "name": self.name,
            "phase": self.phase,
            "context_len": self.context_len,
            "classes": [found.to_dict() for found in self.classes],
        }

    def __str__(self) -> str:
        from partitioner.plan.report.explanation import explanation

        return "\n".join(explanation(self))
