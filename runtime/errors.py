"""Errors of a session.

::

    SessionError(ValueError)     what was asked of a session cannot be done, or a step of its plan failed

The drive has its own (:mod:`runtime.csd.errors`); inside a generation they arrive as the cause of a
``SessionError`` that names the step.
"""


class SessionError(ValueError):
    """Says which rule was broken, what was given, and what would be accepted.

    Attributes:
        at_s: When the step that failed could begin, by the session's clock; None where no step failed.
    """

    at_s: float | None = None


def step_error(label: str, phase: str, error: BaseException, at_s: float | None = None) -> SessionError:
    """Returns the one error that a failed step, which could begin at ``at_s``, is reported with."""
    found = SessionError(f"{phase} failed in {label}: {type(error).__name__}: {error}")
    found.at_s = at_s
    return found
