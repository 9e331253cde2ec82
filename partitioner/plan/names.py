"""Short names for many: ``csd0-3`` for four drives, ``blocks.*.mlp.up`` for the ops of all layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cost_models import HardwareSpec

_NUMBER = re.compile(r"(?<![^.\[])\d+(?![^.\]])")
_DEVICE = re.compile(r"(gpu|csd)(\d+)(.*)")
_MOST_RANGES = 3


def folded(name: str) -> str:
    """Returns a dotted name with its numbers replaced: ``blocks.3.mlp.up`` gives ``blocks.*.mlp.up``."""
    return _NUMBER.sub("*", name)


def class_name(names: Sequence[str], every: int) -> str:
    """Returns one name for the members of a class of which there are ``every`` in all.

    Where only some layers belong to it, it says which, if that is short: ``blocks.0-9.attention``.
    """
    pattern = folded(names[0])
    if len(names) == every or pattern.count("*") != 1:
        return names[0] if every == 1 else pattern
    numbers = sorted(int(found.group()) for n in names if (found := _NUMBER.search(n)))
    ranges = _ranges(numbers)
    return pattern.replace("*", ",".join(ranges)) if len(ranges) <= _MOST_RANGES else pattern


def device_span(devices: Iterable[str]) -> str:
    """Returns one name for devices, or link directions, of one kind: ``csd0-3``, ``csd0-3.up``."""
    unique = list(dict.fromkeys(devices))
    parts = [_DEVICE.fullmatch(d) for d in unique]
    kinds = {(p.group(1), p.group(3)) for p in parts if p}
    if len(unique) == 1 or None in parts or len(kinds) != 1:
        return ", ".join(unique)
    kind, rest = kinds.pop()
    return f"{kind}{','.join(_ranges(sorted(int(p.group(2)) for p in parts if p)))}{rest}"


def tier_span(hw: HardwareSpec, tier: str) -> str:
    """Returns the name of all devices of a tier."""
    return device_span(d for d in hw.device_names if tier_of(d) == tier) or tier


def tier_of(device: str) -> str:
    """Returns the tier of a device."""
    return device.rstrip("0123456789")


def _ranges(numbers: Sequence[int]) -> list[str]:
    ranges: list[list[int]] = []
    for n in numbers:
        if ranges and n == ranges[-1][1] + 1:
            ranges[-1][1] = n
        else:
            ranges.append([n, n])
    return [str(a) if a == b else f"{a}-{b}" for a, b in ranges]
