"""The import rules: packages depend on each other in one direction only."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("cost_models", "models", "partitioner", "runtime")

# What the runtime may know of a hardware description: its data and its wiring, no estimate.
HARDWARE_NAMES = {
    "ComputeSpec",
    "CostModelError",
    "Direction",
    "DriveSpec",
    "EngineSpec",
    "FaultSpec",
    "FlashSpec",
    "HardwareError",
    "HardwareSpec",
    "Hop",
    "LinkSpec",
    "PathKind",
    "TOKENS_PER_CLUSTER",
    "path_kinds",
    "route",
}
HARDWARE_MODULES = {
    "cost_models",
    "cost_models.components",
    "cost_models.errors",
    "cost_models.hardware",
    "cost_models.links",
}
# What the runtime may know of the partitioner: the plan side, no search and no cost.
PLAN_SIDE = (
    "partitioner.errors",
    "partitioner.flatten",
    "partitioner.frontend.trace",
    "partitioner.frontend.traced",
    "partitioner.ir",
    "partitioner.jaxpr",
    "partitioner.plan",
    "partitioner.shares",
    "partitioner.token_cut",
    "partitioner.workload",
)
PLAN_SIDE_NAMES = {"Plan", "Workload"}
# What a plan predicts, and the costs that it is predicted by.
PREDICTIONS = {
    "costing",
    "decode_seconds",
    "decode_timelines",
    "predicted_timeline",
    "prefill_seconds",
    "prefill_timeline",
    "step_costs",
    "tokens_per_second",
    "total_decode_seconds",
    "total_seconds",
}
# What a drive may know: its own geometry and rates.
DRIVE_MODULES = {"cost_models.components", "cost_models.hardware"}


@dataclass(frozen=True)
class Import:
    """One imported name: ``from module import name``, or ``import module`` with no name."""

    file: str
    line: int
    module: str
    name: str | None

    def __str__(self) -> str:
        what = f"from {self.module} import {self.name}" if self.name else f"import {self.module}"
        return f"{self.file}:{self.line}: {what}"

    def is_within(self, *packages: str) -> bool:
        """Returns whether the import is of one of the packages, or of something in them."""
        paths = (self.module, f"{self.module}.{self.name}" if self.name else self.module)
        return any(path == p or path.startswith(f"{p}.") for path in paths for p in packages)


@cache
def sources() -> dict[str, ast.Module]:
    """Returns the syntax tree of every module of the four packages, by path."""
    files = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def imports_of(file: str) -> Iterator[Import]:
    """Yields every import in a file, those inside functions included."""
    for node in ast.walk(sources()[file]):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            yield from (Import(file, node.lineno, node.module or "", alias.name) for alias in node.names)


def imports_below(*folders: str, but: tuple[str, ...] = ()) -> list[Import]:
    """Returns the imports of all files under some paths."""
    files = [f for f in sources() if f.startswith(folders) and not (but and f.startswith(but))]
    assert files, f"no source under {folders}: the rule has lost its subject"
    return [imported for file in files for imported in imports_of(file)]


def report(faults: list[Import]) -> str:
    """Returns the imports that break a rule, one a line."""
    return "\n".join(map(str, faults))


@pytest.mark.parametrize(
    ("package", "allowed"),
    [("cost_models", ()), ("models", ()), ("partitioner", ("cost_models",))],
)
def test_a_package_imports_only_what_lies_below_it(package: str, allowed: tuple[str, ...]) -> None:
    others = [other for other in PACKAGES if other not in (package, *allowed)]
    faults = [i for i in imports_below(f"{package}/") if i.is_within(*others)]
    assert not faults, report(faults)


def test_cost_models_imports_no_jax() -> None:
    faults = [i for i in imports_below("cost_models/") if i.is_within("jax", "flax")]
    assert not faults, report(faults)


def test_the_runtime_knows_the_data_of_a_hardware_description_and_no_estimate() -> None:
    imported = [i for i in imports_below("runtime/", but=("runtime/cli/",)) if i.is_within("cost_models")]
    assert imported
    faults = [i for i in imported if i.module not in HARDWARE_MODULES or i.name not in HARDWARE_NAMES]
    assert not faults, report(faults)


def test_the_runtime_knows_the_plan_side_of_the_partitioner_alone() -> None:
    imported = [i for i in imports_below("runtime/", but=("runtime/cli/",)) if i.is_within("partitioner")]
    faults = [
        i
        for i in imported
        if not i.is_within(*PLAN_SIDE)
        and not (i.module == "partitioner" and i.name in PLAN_SIDE_NAMES)
        and not (i.file == "runtime/replan.py" and i.name == "partition")  # after a fault
    ]
    assert not faults, report(faults)


def test_the_simulation_asks_no_prediction() -> None:
    """Neither a cost model nor the predicted schedule: it knows a plan's steps, the hardware's data and the runtime."""
    imported = imports_below("runtime/simulation/")
    faults = [i for i in imported if i.is_within("partitioner.costing", "partitioner.drive_cache")]
    faults += [
        i for i in imported if i.is_within("partitioner.plan.predict", "partitioner.plan.predict_streams")
    ]
    faults += [i for i in imported if i.is_within("partitioner.plan.op_costs", "partitioner.plan.parts")]
    calls = [
        f"{file}:{node.lineno}: .{node.attr}"
        for file, tree in sources().items()
        if file.startswith("runtime/simulation/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in PREDICTIONS and ast.unparse(node.value) != "self"
    ]
    assert not faults, report(faults)
    assert not calls


def test_the_runtime_knows_no_particular_model() -> None:
    faults = [i for i in imports_below("runtime/", but=("runtime/cli/",)) if i.is_within("models")]
    assert not faults, report(faults)


def test_the_drive_knows_neither_jax_nor_the_partitioner_nor_an_estimate() -> None:
    imported = imports_below("runtime/csd/")
    faults = [i for i in imported if i.is_within("jax", "flax", "partitioner", "models")]
    faults += [i for i in imported if i.is_within("cost_models") and i.module not in DRIVE_MODULES]
    assert not faults, report(faults)


def test_the_command_line_is_on_top() -> None:
    faults = [i for i in imports_below(*PACKAGES, but=("runtime/cli/",)) if i.is_within("runtime.cli")]
    assert not faults, report(faults)


def test_only_the_package_and_the_command_line_import_the_benchmark() -> None:
    below = imports_below(*PACKAGES, but=("runtime/cli/", "runtime/__init__.py", "runtime/bench"))
    faults = [i for i in below if i.is_within("runtime.benchmark", "runtime.bench")]
    assert not faults, report(faults)


def test_one_file_knows_the_names_of_jaxprs() -> None:
    users = {i.file for i in imports_below(*PACKAGES) if i.is_within("jax.extend")}
    assert users == {"partitioner/jaxpr.py"}


@pytest.mark.parametrize("banned", ["jax._src", "pickle", "cloudpickle", "dill", "marshal"])
def test_banned_modules_are_imported_nowhere(banned: str) -> None:
    faults = [i for i in imports_below(*PACKAGES) if i.is_within(banned)]
    assert not faults, report(faults)


@pytest.mark.parametrize("banned", ["eval", "exec"])
def test_no_text_is_run_as_code(banned: str) -> None:
    calls = [
        f"{file}:{node.lineno}"
        for file, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == banned
    ]
    assert not calls


def test_private_attributes_of_jax_are_used_nowhere() -> None:
    uses = [
        f"{file}:{node.lineno}"
        for file, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "_src"
        and isinstance(node.value, ast.Name)
        and node.value.id == "jax"
    ]
    assert not uses


@pytest.mark.parametrize("word", ["utils", "util", "helpers", "helper", "misc", "common"])
def test_every_file_is_named_for_one_thing(word: str) -> None:
    assert not [file for file in sources() if Path(file).stem == word or word in Path(file).parts]


class TestTheRulesThemselves:
    """The rules find what they are made to find."""

    def test_a_name_from_a_package_counts_as_a_module_of_it(self) -> None:
        assert Import("f", 1, "runtime", "cli").is_within("runtime.cli")
        assert Import("f", 1, "runtime.cli.main", "main").is_within("runtime.cli")
        assert not Import("f", 1, "runtime", "clock").is_within("runtime.cli")

    def test_a_longer_name_is_another_module(self) -> None:
        assert not Import("f", 1, "models_zoo", None).is_within("models")
