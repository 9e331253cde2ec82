"""The placement report: plain text of at most 100 columns, one file per section."""

from partitioner.plan.report.predicted_use import predicted_busy, predicted_bytes
from partitioner.plan.report.sections import SECTIONS, render

__all__ = ["SECTIONS", "predicted_busy", "predicted_bytes", "render"]
