"""What a sweep varies: a size of the workload, the number of drives, or any number of the hardware."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass

from cost_models import HardwareError, HardwareSpec
from partitioner import SparF, Workload
from partitioner.plan.settings import hardware_settings
from runtime.cli.one_line_errors import ArgumentError
from runtime.cli.sweep.quantity import Quantity, quantity

WORKLOAD_KEYS = ("batch", "prompt-len", "decode-len", "context", "sparsity")
_COUNTS = (*WORKLOAD_KEYS, "drives")
_UNITS = (
    ("bytes_per_s", "B/s"),
    ("bytes", "B"),
    ("usd_per_j", "USD/J"),
    ("usd", "USD"),
    ("flops", "FLOP/s"),
    ("_s", "s"),
    ("_w", "W"),
)
_WORDS = {
    "batch": "sequences generated together",
    "prompt-len": "tokens of the prompt",
    "decode-len": "new tokens per sequence",
    "context": "tokens of prompt and answer together",
    "sparsity": "drives read one part in",
    "drives": "number of drives",
}


@dataclass(frozen=True)
class Axis:
    """Holds what is varied.

    Attributes:
        key: ``batch``, ``drives``, ``host.memory_bytes``.
        values: In the order given, none twice.
    """

    key: str
    values: tuple[Quantity, ...]

    @property
    def label(self) -> str:
        """Returns what the values are, with their unit."""
        if self.key in _WORDS:
            return _WORDS[self.key]
        parts = self.key.split(".")
        name = parts[-2] if "peak_flops" in parts[:-1] else parts[-1]
        unit = next((unit for ending, unit in _UNITS if name.endswith(ending)), None)
        return f"{self.key} [{unit}]" if unit else self.key

    def at(self, value: Quantity, hw: HardwareSpec, load: Workload) -> tuple[HardwareSpec, Workload]:
        """Returns hardware and workload with one value put in.

        Raises:
            HardwareError: If the hardware does not accept it.
        """
        number = int(value.value) if self.key in _COUNTS else value.value
        if self.key == "drives":
            return hw.with_drives(int(number)), load
        if self.key == "context":
            new = min(load.decode_len, int(number) // 2)
            return hw, dataclasses.replace(load, prompt_len=int(number) - new, decode_len=new)
        if self.key == "sparsity":
            return hw, dataclasses.replace(load, sparsity=SparF.ratio(number))
        if self.key in WORKLOAD_KEYS:
            field = "batch_size" if self.key == "batch" else self.key.replace("-", "_")
            return hw, dataclasses.replace(load, **{field: number})
        return hw.replace(self.key, number), load


def parse_axis(text: str, hw: HardwareSpec) -> Axis:
    """Reads ``KEY=VALUE,VALUE,...`` and tries every value on the hardware.

    Raises:
        ArgumentError: If it has another form, there is no such key, or a value is not accepted for it.
    """
    key, equals, listed = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise ArgumentError(
            f"--sweep {text!r} has no key and values; write KEY=VALUE,VALUE, such as drives=1,2,4"
        )
    _check_key(key, hw)
    parts = [part for part in listed.split(",") if part.strip()]
    if not parts:
        raise ArgumentError(f"--sweep {key} has no values; write them behind {key}= with commas between them")
    values: dict[float, Quantity] = {}
    for part in parts:
        try:
            found = quantity(part)
        except ArgumentError as error:
            raise ArgumentError(f"--sweep {key}: {error}") from None
        _check_value(key, found, hw)
        values.setdefault(found.value, found)
    return Axis(key, tuple(values.values()))


def _check_key(key: str, hw: HardwareSpec) -> None:
    """Requires a key of the workload, or one that leads to a number of the hardware."""
    known = known_keys(hw)
    if key in known:
        return
    try:
        hw.replace(key, 1.0)
    except HardwareError as error:
        if "is not accepted" in str(error):
            return
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
        near = near or [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]][:3]
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"known are {', '.join(_COUNTS)} and numbers of "
        )
        hint += "" if near else f"the hardware such as {known[-1]} (instinfer presets NAME --json shows them)"
        raise ArgumentError(f"--sweep has no key {key!r} to vary; {hint}") from None


def known_keys(hw: HardwareSpec) -> tuple[str, ...]:
    """Returns what can be varied: sizes of the workload, the number of drives, and every number of the hardware."""
    numbers = (
        name
        for name, value in hardware_settings(hw).items()
        if not isinstance(value, str | bool)
        and ("." in name or name.endswith(("_s", "_j")))
        and not name.endswith(".faults")  # a table that is not there
    )
    return (*_COUNTS, *numbers)


def _check_value(key: str, value: Quantity, hw: HardwareSpec) -> None:
    least = {"drives": 0, "context": 2, "sparsity": 2}.get(key, 1)
    if key in _COUNTS:
        if value.whole is None or value.whole < least:
            raise ArgumentError(
                f"--sweep {key}: {value.text!r} is not accepted; give whole numbers of at least {least}"
            )
        if key != "drives":
            return
    try:
        Axis(key, (value,)).at(value, hw, Workload())
    except HardwareError as error:
        raise ArgumentError(f"--sweep {key}={value.text}: {error}") from None
