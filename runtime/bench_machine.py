"""The machine and the versions that a measurement was taken with."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import jax

from runtime.core_threads import num_cores


@dataclass(frozen=True)
class Machine:
    """Names what measured times depend on.

    Attributes:
        processor: Name of the processor.
        num_cores: Cores that this process may use.
        accelerator: JAX's default device.
        system: Operating system.
        python: Version of Python.
        versions: Package name and version.
    """

    processor: str
    num_cores: int
    accelerator: str
    system: str
    python: str
    versions: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {number}" for name, number in self.versions)
        return (
            f"{self.processor}, {self.num_cores} cores, JAX on {self.accelerator}\n"
            f"{self.system}, Python {self.python}, {packages}"
        )

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        return {**asdict(self), "versions": dict(self.versions)}


def this_machine() -> Machine:
    """Returns the description of the machine that runs this process."""
    device = jax.devices()[0]
    return Machine(
        processor=_processor(),
        num_cores=num_cores(),
        accelerator=f"{device.platform} ({device.device_kind})",
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions=tuple((name, version(name)) for name in ("jax", "jaxlib", "flax", "numpy", "numba")),
    )


def _processor() -> str:
    """Returns the processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
