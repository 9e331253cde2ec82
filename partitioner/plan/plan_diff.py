"""What differs between two plans of one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from partitioner.plan.settings import Setting


@dataclass(frozen=True)
class ChangedSetting:
    """Holds a setting that differs.

    Attributes:
        key: As in options and what-if changes: ``batch``, ``gpu.memory_bytes``.
        before: Its value, or None if there is none.
        after: Likewise.
    """

    key: str
    before: Setting
    after: Setting


@dataclass(frozen=True)
class Prediction:
    """Holds one predicted figure of both plans.

    Attributes:
        name: With its unit in the SI: ``prefill_s``, ``decode_step_s``, ``tokens_per_s``.
        before: Its value, or None if it is not known.
        after: Likewise.
    """

    name: str
    before: float | None
    after: float | None

    @property
    def ratio(self) -> float | None:
        """Returns after over before; None if one is not known or the first is zero."""
        return self.after / self.before if self.before and self.after is not None else None


@dataclass(frozen=True, eq=False)
class MovedOps:
    """Holds ops of one phase that run elsewhere.

    Attributes:
        phase: ``prefill`` or ``decode``.
        name: ``blocks.0-9.attention``.
        ops: Names.
        before: Shares of devices.
        after: Likewise.
    """

    phase: str
    name: str
    ops: tuple[str, ...]
    before: Mapping[str, float]
    after: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class MovedData:
    """Holds weights or KV caches that live elsewhere.

    Attributes:
        kind: ``weights`` or ``KV cache``.
        name: ``blocks.*.mlp.up.kernel``, or the name of the attentions.
        members: Names of the parameters or attentions.
        before: Bytes by device.
        after: Likewise.
    """

    kind: str
    name: str
    members: tuple[str, ...]
    before: Mapping[str, float]
    after: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class PlanDiff:
    """Holds what differs between two plans of one model; it prints.

    Attributes:
        models: Names of both.
        contexts: Tokens attended over in the decode steps that are compared.
        settings: Policy, workload and hardware, as far as they differ.
        predictions: Predicted figures, all of them.
        ops: What runs elsewhere, decode first.
        data: What lives elsewhere.
    """

    models: tuple[str, str]
    contexts: tuple[int, int]
    settings: tuple[ChangedSetting, ...]
    predictions: tuple[Prediction, ...]
    ops: tuple[MovedOps, ...]
    data: tuple[MovedData, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data: seconds, bytes and shares."""
        return {
            "models": list(self.models),
            "contexts": list(self.contexts),
            "settings": {s.key: [s.before, s.after] for s in self.settings},
            "predictions": {
                p.name: {"before": p.before, "after": p.after, "ratio": p.ratio} for p in self.predictions
            },
            "ops": [
                {
                    "phase": moved.phase,
                    "name": moved.name,
                    "ops": list(moved.ops),
                    "before": dict(moved.before),
                    "after": dict(moved.after),
                }
                for moved in self.ops
            ],
            "data": [
                {
                    "kind": moved.kind,
                    "name": moved.name,
                    "members": list(moved.members),
                    "before_bytes": dict(moved.before),
                    "after_bytes": dict(moved.after),
                }
                for moved in self.data
            ],
        }

    def __str__(self) -> str:
        from partitioner.plan.report.plan_diff import plan_diff

        return "\n".join(plan_diff(self))
