"""Executes plans: a session drives GPU, host and storage drives, and measures what they do."""

from runtime.errors import SessionError
from runtime.result import GenerationResult
from runtime.session import Session

__all__ = ["GenerationResult", "Session", "SessionError"]
