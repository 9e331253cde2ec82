"""``instinfer plan --sweep``, as a user types it."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cost_models import HardwareSpec
from models import load_pretrained
from partitioner import Workload, partition
from runtime.cli.main import app

PLAN = ("plan", "tiny", "--hw", "demo", "--batch", "2", "--prompt-len", "24", "--decode-len", "4")


def test_rows_are_what_single_plans_predict(tmp_path: Path) -> None:
    file = tmp_path / "sweep.png"
    options = ("--sweep", "drives=0,2", "--policies", "instinfer,gpu-only", "--json", "--plot", str(file))
    result = CliRunner().invoke(app, [*PLAN, *options])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [(row["value"], row["policy"]) for row in rows] == [
        (0, "instinfer"),
        (0, "gpu-only"),
        (2, "instinfer"),
        (2, "gpu-only"),
    ]
    assert "needs a drive" in rows[0]["reason"]
    hw = HardwareSpec.load("demo").with_drives(2)
    plan = partition(load_pretrained("tiny"), hw, Workload(2, 24, 4), "instinfer")
    assert rows[2]["tokens_per_s"] == pytest.approx(plan.tokens_per_second)
    assert rows[2]["step_s"] == pytest.approx(plan.decode_seconds(plan.middle_context))
    assert set(rows[2]["kv_cache_bytes"]) == {"csd0", "csd1"}
    assert file.read_bytes().startswith(b"\x89PNG")


def test_the_policy_is_the_one_of_the_plan_command() -> None:
    result = CliRunner().invoke(app, [*PLAN, "--sweep", "batch=1,2", "--policy", "gpu-only"])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("gpu-only") == 2
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sweep", "drves=1"), r"did you mean drives\?"),
        (("--sweep", "drives=1", "--policies", "instinfr"), r"unknown policy 'instinfr'; did you mean 'instinfer'"),
        (("--sweep", "drives=1", "--policies", "zzz"), r"unknown policy 'zzz'; known are auto"),
        (("--sweep", "drives=1", "--policies", ","), r"--policies names no policy"),
        (("--sweep", "drives=1", "--print-after", "raise"), r"leave out --save, --print-after and --simulate"),
        (("--sweep", "drives=1", "--plot", "a.doc"), r"the suffix must be one of"),
        (("--policies", "auto"), r"--policies and --plot belong to --sweep"),
        (("--plot", "a.png"), r"--policies and --plot belong to --sweep"),
    ],
)  # fmt: skip
def test_bad_arguments_give_one_line(options: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, [*PLAN, *options])
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
    assert re.search(f"^Error: .*{message}", result.stderr)
