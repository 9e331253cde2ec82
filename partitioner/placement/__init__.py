"""Finds where each op runs and each operand lives: the problem in numbers, its exact solver, policies and reports."""
