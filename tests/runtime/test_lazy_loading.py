"""Weights go from their file to their homes one at a time, and the host holds little besides."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from models import TransformerConfig, load_pretrained
from models.checkpoint.stored_parameter import StoredParameter
from partitioner import Workload, partition
from runtime import Session, SessionError
from runtime.installed_plan import Workbench
from runtime.pace import VirtualPace
from tests.models.reference_checkpoints import FLOAT32, FOLDER
from tests.models.zero_checkpoint import write_zero_checkpoint
from tests.runtime.tiny_models import demo_hardware

STATUS = Path("/proc/self/status")
ROOT = Path(__file__).parents[2]
WORKLOAD = Workload(batch_size=1, prompt_len=4, decode_len=2)
WIDE = TransformerConfig.named("tiny").replace(
    vocab_size=8192, hidden_size=1024, num_layers=2, ffn_size=2048, head_size=128, tied_embedding=True
)


@pytest.mark.skipif(
    not (STATUS.exists() and "VmHWM" in STATUS.read_text()), reason="reads this process's memory from /proc"
)
def test_the_host_holds_little_beyond_the_homes(tmp_path: Path) -> None:
    """At most 1.2 times the largest tensor; measured is a piece of a file, 2 MiB."""
    sizes = write_zero_checkpoint(tmp_path, WIDE)
    command = [sys.executable, "-m", "tests.runtime.load_memory", str(tmp_path)]
    printed = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(printed.stdout)
    assert found["weights"] == sum(sizes)
    assert sum(sizes) > 1e8
    # planning took less than this, so the most that ever was resident was while loading
    assert found["most_before"] - found["before"] < 0.5 * sum(sizes)
    peak = found["most"] - found["before"]
    assert 0.9 * sum(sizes) < peak < sum(sizes) + 1.2 * max(sizes)


def test_progress_counts_bytes() -> None:
    model = load_pretrained(FOLDER / "qwen2", lazy=True)
    plan = partition(model, demo_hardware(), WORKLOAD, "gpu-only")
    told: list[tuple[int, int]] = []
    with Session(
        plan,
        model,
        clock="virtual",
        progress=lambda stage, done, total: told.append((done, total)) if stage == "loading" else None,
    ):
        total = 4 * model.config.num_parameters
    assert {of for _, of in told} == {total}
    done = [at for at, _ in told]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, total)


def test_a_plan_for_what_is_left_takes_over_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bringing up a second plan reads nothing again."""
    model = load_pretrained(FOLDER / "llama", lazy=True)
    plan = partition(model, demo_hardware(), WORKLOAD, "gpu-only")
    read, num_read = StoredParameter.read, 0

    def counted(parameter: StoredParameter) -> np.ndarray:
        nonlocal num_read
        num_read += 1
        return read(parameter)

    monkeypatch.setattr(StoredParameter, "read", counted)
    bench = Workbench(plan, model, VirtualPace(), lambda stage, done, total: None, None, 30.0)
    first = bench.install(plan)
    assert num_read == len(nnx.to_flat_state(nnx.state(model, nnx.Param)))
    second = bench.install(plan)
    assert num_read == len(first.system.placed["gpu0"])
    assert all(
        second.system.placed["gpu0"][name] is value for name, value in first.system.placed["gpu0"].items()
    )
    bench.close()


def test_a_file_cut_after_planning_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "opt"
    shutil.copytree(FOLDER / "opt", folder)
    model = load_pretrained(folder, lazy=True, **FLOAT32)
    plan = partition(model, demo_hardware(), WORKLOAD, "gpu-only")
    os.truncate(folder / "model.safetensors", 4000)
    message = r"the parameter '.*' cannot be read: tensor .* the file ends before the tensor does; download"
    with pytest.raises(SessionError, match=message):
        Session(plan, model, clock="virtual")
