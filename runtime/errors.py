"""Errors of a session.

::

    SessionError(ValueError)     what was asked of a session cannot be done, or a step of its plan failed

The drive has its own (:mod:`runtime.csd.errors`); inside a generation they arrive as the cause of a
``SessionError`` that names the step.
"""


class SessionError(ValueError):
    """Says which rule was broken, what was given, and what would be accepted."""


def step_error(label: str, phase: str, error: BaseException) -> SessionError:
    """Returns the one error that a failed step is reported with."""
    return SessionError(f"{phase} failed in {label}: {type(error).__name__}: {error}")
