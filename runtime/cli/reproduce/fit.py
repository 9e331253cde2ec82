"""Fits the software of published systems to the published figures.

Time is nearly a sum of terms that are proportional to a parameter or to its inverse. So the logarithms of the predictions are
linearised in those of the parameters, the squared relative errors of the linear model are minimised (optax), and this is
repeated from where that leads. One parameter is not fitted so: how many bytes of host memory a stack holds per byte of K and V
is the least whole number with which DeepSpeed's batch of 16 fits and that of 32 does not.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import jax
import numpy as np
import optax
from jax import numpy as jnp

from cost_models import HardwareError, SoftwareSpec
from partitioner import Plan
from runtime.cli.reproduce.cell import DEEPSPEED, Cell
from runtime.cli.reproduce.prediction import Prediction, predict
from runtime.cli.reproduce.published import PUBLISHED_FIGURES
from runtime.cli.reproduce.results import ratios
from runtime.cli.reproduce.testbed import Testbed
from runtime.phases import Progress

COPIES = "host_bytes_per_kv_byte"
FREE = tuple(field.name for field in dataclasses.fields(SoftwareSpec) if field.name != COPIES)
"""Parameters that are fitted by their logarithms."""

_STEP = 0.02
"""Step of finite differences, in logarithms."""
_FARTHEST = 0.5
"""Largest change of a logarithm in one round, within which the linear model is trusted."""
_ROUNDS = 2
_UPDATES = 600
_LEARNING_RATE = 0.02


@dataclass(frozen=True)
class Fit:
    """Holds fitted software.

    Attributes:
        software: The parameters.
        losses: Mean squared relative error before each round, and at the end.
    """

    software: SoftwareSpec
    losses: tuple[float, ...]


def fit_software(
    start: SoftwareSpec, progress: Progress = lambda stage, done, total: None, rounds: int = _ROUNDS
) -> Fit:
    """Returns the software with which the published figures are predicted best.

    Args:
        start: Where the search begins.
        progress: Told how many predictions are done.
        rounds: Linearisations.
    """
    software = dataclasses.replace(start, **{COPIES: float(copies_in_host_memory())})
    plans = _plans(software, progress)
    targets = _targets()
    total, done, losses = rounds * (1 + len(FREE)) + 1, 0, []

    def logs(point: np.ndarray) -> np.ndarray:
        nonlocal done
        done += 1
        progress("predicting", done, total)
        return np.log(_predicted(plans, _at(software, point)))

    point = np.log([getattr(software, name) for name in FREE])
    for _ in range(rounds):
        here = logs(point)
        losses.append(_loss(here, targets))
        steps = _STEP * np.eye(len(FREE))
        slopes = np.stack([(logs(point - step) - here) / -_STEP for step in steps], axis=1)
        point = point + _descend(here, slopes, targets, _most(point))
    losses.append(_loss(logs(point), targets))
    return Fit(_at(software, point), tuple(losses))


def copies_in_host_memory() -> int:
    """Returns the least whole number of copies of DeepSpeed's KV cache of batch 32 that is more than host memory.

    Raises:
        HardwareError: So many copies of the cache of batch 16 are more as well.
        PlacementError: The testbed does not hold one copy.
    """
    small, large = Cell(DEEPSPEED, 16), Cell(DEEPSPEED, 32)
    memory = small.hardware.host.memory_bytes
    bed = Testbed()
    less, more = (bed.plan(cell).resident_bytes()["host"]["kv_cache"] for cell in (small, large))
    copies = math.floor(memory / more) + 1
    if copies * less > memory:
        raise HardwareError(
            f"{memory / 1e9:.0f} GB of host memory hold no whole number of copies of {less / 1e9:.1f} GB that they do not "
            f"hold of {more / 1e9:.1f} GB; give the testbed its published memory"
        )
    return copies


def _plans(software: SoftwareSpec, progress: Progress) -> dict[Cell, Plan]:
    """Returns the plans of all points that the fitted figures look at."""
    cells: list[Cell] = []

    def note(cell: Cell) -> str:
        cells.append(cell)
        return "not planned yet"

    ratios(note)
    cells.append(Cell(DEEPSPEED, 16))
    bed, plans = Testbed(software), {}
    order = sorted(dict.fromkeys(cells), key=lambda cell: (cell.model, cell.batch))
    for number, cell in enumerate(order):
        progress("planning", number, len(order))
        plans[cell] = bed.plan(cell)
    progress("planning", len(order), len(order))
    return plans


def _targets() -> np.ndarray:
    """Returns the published values, in the order of predictions."""
    known = {figure.id: figure.values for figure in PUBLISHED_FIGURES}
    wanted = [known[name] for name in ratios(lambda cell: "")]
    return np.array([value for values in wanted if not isinstance(values, bool) for value in values])


def _predicted(plans: dict[Cell, Plan], software: SoftwareSpec) -> np.ndarray:
    """Returns the predictions of all fitted figures under some software, the plans' decisions staying what they are."""
    known: dict[Cell, Prediction] = {}

    def find(cell: Cell) -> Prediction:
        if cell not in known:
            hw = dataclasses.replace(plans[cell].hw, software=software)
            known[cell] = predict(dataclasses.replace(plans[cell], hw=hw))
        return known[cell]

    return np.array([value for values in ratios(find).values() for value in values], dtype=float)


def _at(software: SoftwareSpec, point: np.ndarray) -> SoftwareSpec:
    values = {name: math.exp(value) for name, value in zip(FREE, point, strict=True)}
    values["flash_read_efficiency"] = min(1.0, values["flash_read_efficiency"])
    return dataclasses.replace(software, **values)


def _most(point: np.ndarray) -> np.ndarray:
    """Returns how far each logarithm may grow in a round; a share stays at most 1."""
    most = np.full(len(FREE), _FARTHEST)
    share = FREE.index("flash_read_efficiency")
    most[share] = min(_FARTHEST, -point[share])
    return most


def _loss(logs: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean((np.exp(logs) / targets - 1) ** 2))


def _descend(here: np.ndarray, slopes: np.ndarray, targets: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Returns the change of the logarithms of the parameters that minimises the linear model's error."""
    base, model, goal = jnp.asarray(here), jnp.asarray(slopes), jnp.asarray(targets)

    def loss(change: jax.Array) -> jax.Array:
        return jnp.mean((jnp.exp(base + model @ change) / goal - 1) ** 2)

    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, _UPDATES))

    @jax.jit
    def update(change: jax.Array, state: optax.OptState) -> tuple[jax.Array, optax.OptState]:
        step, state = optimizer.update(jax.grad(loss)(change), state)
        moved = jnp.clip(optax.apply_updates(change, step), -_FARTHEST, jnp.asarray(most))  # type: ignore[arg-type]
        return moved, state

    change = jnp.zeros(slopes.shape[1])
    state = optimizer.init(change)
    for _ in range(_UPDATES):
        change, state = update(change, state)
    return np.asarray(change, dtype=float)
