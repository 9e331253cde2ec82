"""Errors of the cost models.

``CostModelError`` is the root; ``HardwareError`` is a fault of a hardware description (a preset, a TOML
file, a value in a constructor or a what-if key), ``WorkError`` one of an operation that cannot be costed.

    ValueError
    └── CostModelError
        ├── HardwareError
        └── WorkError
"""


class CostModelError(ValueError):
    """Any fault found by the cost models in what they were given."""


class HardwareError(CostModelError):
    """A fault in a hardware description: with the key, what was given and what is accepted."""


class WorkError(CostModelError):
    """An operation whose work cannot be stated, such as a call-like equation that was not inlined."""
