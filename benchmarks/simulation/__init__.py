"""Simulated against predicted time over a grid of models, systems and workloads."""
