"""Plans the points of the evaluation; points that differ in system or drives alone share one trace of their model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from cost_models import SoftwareSpec
from models import abstract
from partitioner import PlacementError, Plan
from partitioner.collection import without_collection
from partitioner.front import Traced, trace_model
from partitioner.frontend import adapt
from partitioner.objective import OBJECTIVES, TOKENS_PER_SECOND
from partitioner.passes.set_sparsity import set_sparsity
from partitioner.planner import Planner
from runtime.cli.reproduce.cell import Cell
from runtime.cli.reproduce.prediction import Prediction, predict
from runtime.phases import Progress


class Testbed:
    """Answers what is predicted of points; each is planned once.

    Args:
        software: What stands for the software that the paper's presets have; None for theirs.

    Attributes:
        found: Predictions by point, or why nothing fits.
    """

    __test__ = False

    def __init__(self, software: SoftwareSpec | None = None) -> None:
        self._software = software
        self.found: dict[Cell, Prediction | str] = {}
        self._traced: tuple[tuple[str, int], Traced] | None = None

    def predict_all(
        self,
        cells: Iterable[Cell],
        progress: Progress = lambda stage, done, total: None,
        *,
        processes: int = 1,
    ) -> None:
        """Plans points that are not planned yet, those of one model and batch one after the other, so that they share a trace.

        Args:
            cells: The points.
            progress: Told of stage, done, total.
            processes: Processes among which models and batches are spread; 1 is this one.
        """
        groups: dict[tuple[str, int], list[Cell]] = {}
        for cell in dict.fromkeys(cell for cell in cells if cell not in self.found):
            groups.setdefault((cell.model, cell.batch), []).append(cell)
        done, total = 0, sum(map(len, groups.values()))
        progress("planning", done, total)
        for found in self._spread(list(groups.values()), processes):
            self.found.update(found)
            done += len(found)
            progress("planning", done, total)

    def _spread(self, groups: list[list[Cell]], processes: int) -> Iterator[dict[Cell, Prediction | str]]:
        """Yields what is predicted of groups, as they are done; those with most points begin first."""
        groups.sort(key=len, reverse=True)
        if processes == 1 or len(groups) <= 1:
            for group in groups:
                yield {cell: self.of(cell) for cell in group}
            return
        # a forked process would inherit JAX's threads in whatever state they are
        with ProcessPoolExecutor(min(processes, len(groups)), get_context("spawn")) as pool:
            waiting = [pool.submit(_predict_group, self._software, group) for group in groups]
            try:
                for done in as_completed(waiting):
                    yield done.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def of(self, cell: Cell) -> Prediction | str:
        """Returns what is predicted of a point, or why nothing fits."""
        if cell not in self.found:
            try:
                self.found[cell] = predict(self.plan(cell))
            except PlacementError as error:
                self.found[cell] = str(error)
        return self.found[cell]

    def plan(self, cell: Cell) -> Plan:
        """Returns the plan of a point.

        Raises:
            PlacementError: Nothing fits.
        """
        hw, workload = cell.hardware, cell.workload
        if self._software is not None and hw.software is not None:
            hw = dataclasses.replace(hw, software=self._software)
        with without_collection():
            traced = self._trace(cell)
            traced = dataclasses.replace(traced, graphs=set_sparsity(traced.graphs, workload.sparsity))
            objective = OBJECTIVES[TOKENS_PER_SECOND]
            planner = Planner(traced, hw, workload, cell.system.policy, objective, verify=False)
            return planner.plan(planner.solve())

    def _trace(self, cell: Cell) -> Traced:
        key = (cell.model, cell.batch)
        if self._traced is None or self._traced[0] != key:
            exact = dataclasses.replace(cell.workload, sparsity=None)
            traced = trace_model(adapt(abstract(cell.model)), cell.hardware, exact, verify=False)
            self._traced = key, traced
        return self._traced[1]


def _predict_group(software: SoftwareSpec | None, cells: list[Cell]) -> dict[Cell, Prediction | str]:
    """Predicts points in a process of their own."""
    bed = Testbed(software)
    return {cell: bed.of(cell) for cell in cells}
