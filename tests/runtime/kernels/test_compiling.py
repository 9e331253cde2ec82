"""What is compiled is kept between processes, and compiled again when its source changes."""

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from runtime.kernels import compiling

KERNELS = Path(compiling.__file__).parent

ENTRY = """
from runtime.kernels.addend import addend
from runtime.kernels.compiling import SOURCE_DIGEST, entry_point


def _build(digest):
    def add(number):
        _ = digest
        return number + addend()

    return add


add = entry_point(_build(SOURCE_DIGEST))

if __name__ == "__main__":
    from runtime.kernels.entry import add

    print(add(1), sum(add.stats.cache_hits.values()))
"""
ADDEND = """
from runtime.kernels.compiling import inner


@inner
def addend():
    return {value}
"""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Returns a tree with a kernels folder of its own: the rules of compiling, an entry point and what it calls."""
    folder = tmp_path / "runtime" / "kernels"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").write_text("")
    shutil.copy(KERNELS / "compiling.py", folder)
    (folder / "entry.py").write_text(ENTRY)
    return tmp_path


def answer(tree: Path, addend: int) -> tuple[int, int]:
    """Returns what the entry point gives in a process of its own, and how often the compiler's cache served."""
    (tree / "runtime" / "kernels" / "addend.py").write_text(ADDEND.format(value=addend))
    run = subprocess.run(
        [sys.executable, "-c", "import runpy; runpy.run_module('runtime.kernels.entry', run_name='__main__')"],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    given, hits = run.stdout.split()
    return int(given), int(hits)


def test_what_is_kept_serves_until_a_called_file_changes(copied: Path) -> None:
    assert answer(copied, 10) == (11, 0)
    assert answer(copied, 10) == (11, 1)
    assert answer(copied, 20) == (21, 0)
    assert answer(copied, 20) == (21, 1)


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    digests = []
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.py", "2")):
        folder = tmp_path / f"{name}{text}"
        folder.mkdir()
        (folder / name).write_text(text)
        digests.append(compiling.digest_of(folder))
    assert len(set(digests)) == 3
    assert compiling.digest_of(KERNELS) == compiling.SOURCE_DIGEST


ENTRY_POINTS = [
    (file.stem, name)
    for file in sorted(KERNELS.glob("*.py"))
    for name in re.findall(r"^(\w+): Any = entry_point\(", file.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("module", "name"), ENTRY_POINTS)
def test_every_entry_point_is_bound_to_its_source(module: str, name: str) -> None:
    closed_over = getattr(import_module(f"runtime.kernels.{module}"), name).py_func.__closure__
    assert [cell.cell_contents for cell in closed_over] == [compiling.SOURCE_DIGEST]
