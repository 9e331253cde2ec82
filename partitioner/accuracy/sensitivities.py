"""How much accuracy a model loses where single layers attend sparsely: measured values, kept in a file beside the model.

Losses are bits per token more than exact attention needs, relative to what it needs. Files are JSON and hold no code.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from partitioner.errors import AccuracyError

FORMAT = "instinfer sensitivities"
VERSION = 1

CONFIDENCE = 1.645
"""Standard errors above a measured loss up to which the true one lies with 95 %, one-sided (normal distribution)."""


@dataclass(frozen=True)
class JointLoss:
    """What several sparse layers lose together.

    Attributes:
        compressions: Of each layer, None where it attends exactly.
        summed: Sum of what the layers lose alone, each with 95 % confidence at most.
        measured: What they lose together.
        error: Standard error of that.
    """

    compressions: tuple[float | None, ...]
    summed: float
    measured: float
    error: float

    @property
    def at_most(self) -> float:
        """Returns the loss that the true one does not exceed with 95 % confidence."""
        return self.measured + CONFIDENCE * self.error


@dataclass(frozen=True)
class Sensitivities:
    """Losses of single layers, and of some combinations.

    Attributes:
        model: Name.
        weights_sha256: Hash of the weights, in hex.
        head_size: Of the model.
        text: Origin of the text that was evaluated.
        text_sha256: Hash of its tokens, in hex.
        date: Day of the measurement, ISO 8601.
        versions: What it was measured with, by name.
        prompt_len: Tokens that attended exactly.
        context: Tokens of a text.
        excerpts: Texts.
        exact_bits_per_token: What exact attention needs.
        compressions: What SparF was measured at, ascending: 8 reads one eighth.
        losses: Of each layer alone, at each compression.
        errors: Standard errors of the losses, likewise.
        joint: Combinations of layers.
    """

    model: str
    weights_sha256: str
    head_size: int
    text: str
    text_sha256: str
    date: str
    versions: tuple[tuple[str, str], ...]
    prompt_len: int
    context: int
    excerpts: int
    exact_bits_per_token: float
    compressions: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    errors: tuple[tuple[float, ...], ...]
    joint: tuple[JointLoss, ...] = ()

    def __post_init__(self) -> None:
        if not self.losses or not self.compressions or any(c <= 1 for c in self.compressions):
            raise AccuracyError("sensitivities need losses of at least one layer, at compressions above 1")
        rows = (*self.losses, *self.errors)
        if len(self.losses) != len(self.errors) or any(len(row) != len(self.compressions) for row in rows):
            raise AccuracyError(
                f"sensitivities list {len(self.compressions)} compressions; give a loss and an error at each for every layer"
            )
        together = [(joint.summed, joint.measured, joint.error) for joint in self.joint]
        if not all(math.isfinite(loss) for row in (*rows, *together) for loss in row):
            raise AccuracyError(
                "sensitivities hold a loss that is not finite; measure them again, on two texts or more"
            )

    @property
    def num_layers(self) -> int:
        """Returns the number of layers."""
        return len(self.losses)

    @property
    def joint_scale(self) -> float:
        """Returns the factor by which the losses of single layers, summed, are raised to what layers may lose together.

        The largest one over the combinations that were measured, each taken with 95 % confidence as single layers are; at
        least 1.
        """
        return max([1.0, *(joint.at_most / joint.summed for joint in self.joint if joint.summed > 0)])

    def loss(self, layer: int, compression: float | None) -> float:
        """Returns what a layer loses alone, with 95 % confidence at most; 0 where it attends exactly, and where it gains.

        Where few texts lose much and others nothing, other texts may lose more than these did on average.
        """
        if compression is None:
            return 0.0
        at = self.compressions.index(compression)
        return max(0.0, self.losses[layer][at] + CONFIDENCE * self.errors[layer][at])

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON."""
        return {"format": FORMAT, "version": VERSION, **asdict(self), "versions": dict(self.versions)}

    def save(self, path: str | Path) -> None:
        """Writes a file."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Sensitivities:
        """Reads a file.

        Raises:
            AccuracyError: It cannot be read, or holds no sensitivities.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise AccuracyError(
                f"cannot read sensitivities from {str(path)!r}: {error.strerror or error}; measure them with "
                "'instinfer accuracy --sensitivities MODEL'"
            ) from None
        except ValueError as error:
            raise AccuracyError(f"{str(path)!r} is not JSON in UTF-8 ({error}); measure it again") from None
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: Any) -> Sensitivities:
        """Builds sensitivities from :meth:`to_dict`'s form.

        Raises:
            AccuracyError: The data holds no sensitivities.
        """
        if not isinstance(data, dict) or (data.get("format"), data.get("version")) != (FORMAT, VERSION):
            raise AccuracyError(
                f"these are no sensitivities of version {VERSION}; measure them with 'instinfer accuracy --sensitivities MODEL'"
            )
        values = {name: value for name, value in data.items() if name not in ("format", "version")}
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            wrong = sorted(set(values) ^ known)[0]
            raise AccuracyError(
                f"sensitivities have the fields {', '.join(sorted(known))}; {wrong!r} is wrong"
            )
        try:
            return cls(**{**values, **_tuples(values)})
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise AccuracyError(f"sensitivities are malformed ({error}); measure them again") from None


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {
        "versions": tuple(sorted(values["versions"].items())),
        "compressions": tuple(map(float, values["compressions"])),
        "losses": tuple(tuple(map(float, row)) for row in values["losses"]),
        "errors": tuple(tuple(map(float, row)) for row in values["errors"]),
        "joint": tuple(
            JointLoss(
                tuple(None if c is None else float(c) for c in joint["compressions"]),
                float(joint["summed"]),
                float(joint["measured"]),
                float(joint["error"]),
            )
            for joint in values["joint"]
        ),
    }
