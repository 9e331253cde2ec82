"""Rows of tables about devices and link directions: equal ones of one kind become one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from partitioner.plan.names import device_span, tier_of

Row = tuple[str, list[str]]
"""A device (``csd0``) or link direction (``csd0.up``), and the cells behind its name."""


def merged(rows: Sequence[Row]) -> list[list[str]]:
    """Returns rows with neighbours of one kind and equal cells made one: ``csd0-3``."""

    def alike(row: Row) -> tuple[str, str, list[str]]:
        name, direction = split_resource(row[0])
        return tier_of(name), direction, row[1]

    return [[device_span(name for name, _ in group), *key[2]] for key, group in groupby(rows, alike)]


def split_resource(resource: str) -> tuple[str, str]:
    """Returns a device or link, and the direction of a link or nothing."""
    name, _, direction = resource.partition(".")
    return name, direction
