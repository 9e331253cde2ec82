"""Simpler ways to place a model, to hold the solver against."""
