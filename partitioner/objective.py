"""What a plan is the best at: tokens per second, time per token, energy per token or money per token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from cost_models import HardwareSpec
from partitioner.errors import PlacementError

Needs = Literal["nothing", "powers", "prices"]


@dataclass(frozen=True)
class Objective:
    """Names what is minimised.

    Attributes:
        name: What users write.
        unit: Of the certificate's numbers.
        summary: What these numbers are, for reports.
        needs: What the hardware description has to tell for it; prices are worth nothing without powers.
        overlaps: Whether micro-batches, which let every one of them wait for the others, may help.
    """

    name: str
    unit: str
    summary: str
    needs: Needs = "nothing"
    overlaps: bool = True


TOKENS_PER_SECOND = "tokens-per-second"
"""What is minimised where nothing else is asked for."""

OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        o.name: o
        for o in (
            Objective(TOKENS_PER_SECOND, "s", "seconds of the whole generation"),
            Objective("latency", "s/token", "seconds of a decode step, on average", overlaps=False),
            Objective("dollar", "USD/Mtoken", "US dollars per million new tokens", needs="prices"),
            Objective("joule", "J/token", "joules per new token", needs="powers"),
        )
    }
)


def objective_named(name: str, hw: HardwareSpec) -> Objective:
    """Returns an objective, after checking that the hardware description tells what it needs.

    Raises:
        PlacementError: For an unknown name, or where powers or prices are missing; the message names them all.
    """
    objective = OBJECTIVES.get(name)
    if objective is None:
        raise PlacementError(f"unknown objective {name!r}; known are {', '.join(OBJECTIVES)}")
    missing = missing_figures(hw, objective.needs)
    if missing:
        free = " or ".join(repr(o.name) for o in OBJECTIVES.values() if o.needs == "nothing")
        raise PlacementError(
            f"objective {name!r} needs {_WANTED[objective.needs]}, and {hw.name} lacks {', '.join(missing)}; add "
            f'{"them" if len(missing) > 1 else "it"} to its description, each as {{ value = NUMBER, source = "TEXT" }}, or '
            f"choose objective {free}"
        )
    return objective


_WANTED: Mapping[Needs, str] = MappingProxyType(
    {
        "nothing": "nothing",
        "powers": "the power of every device",
        "prices": "the price and the power of every device",
    }
)


def missing_figures(hw: HardwareSpec, needs: Needs) -> tuple[str, ...]:
    """Returns the keys of a hardware description that are not there and needed, each once for devices of a kind."""
    keys = {"nothing": (), "powers": ("idle_w", "active_w"), "prices": ("price_usd", "idle_w", "active_w")}[
        needs
    ]
    found = [
        f"{name.rstrip('0123456789').replace('csd', 'drive')}.{key}"
        for name in hw.device_names
        for key in keys
        if getattr(hw.device(name), key) is None
    ]
    if needs == "prices":
        found += [k for k in ("service_life_s", "electricity_usd_per_j") if getattr(hw, k) is None]
    return tuple(dict.fromkeys(found))
