"""Where the pages of the drives under test lie."""

from collections.abc import Iterator

import pytest

from runtime.csd import FileBacking, file_arena

from . import drives


@pytest.fixture(scope="module", params=["memory", "file"])
def each_backing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs the tests of a module with pages in memory and in files, these staged a few at a time."""
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "file":
            patched.setattr(drives, "backing", FileBacking(tmp_path_factory.mktemp("pages")))
            patched.setattr(file_arena, "STAGE_BYTES", 8 * 4096)
        yield
