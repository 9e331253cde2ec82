"""Executes plans: a session drives GPU, host and storage drives, and measures what they do."""

from runtime.bench_errors import BenchError
from runtime.bench_report import BenchReport
from runtime.benchmark import bench
from runtime.errors import SessionError
from runtime.request import Completed, Request
from runtime.result import GenerationResult
from runtime.sampling_settings import Sampling
from runtime.session import Session
from runtime.simulation.simulate import simulate
from runtime.simulation.simulated_run import SimulatedRun

__all__ = [
    "BenchError",
    "BenchReport",
    "Completed",
    "GenerationResult",
    "Request",
    "Sampling",
    "Session",
    "SessionError",
    "SimulatedRun",
    "bench",
    "simulate",
]
