"""The commands, as a user types them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cost_models import HardwareSpec
from runtime.cli.main import app

PLAN = ["plan", "tiny", "--hw", "demo", "--batch", "2", "--prompt-len", "24", "--decode-len", "4"]
RUN = [
    "run",
    "tiny",
    "--clock",
    "virtual",
    "--max-new-tokens",
    "3",
    "--prompt",
    "def f(x):",
    "--prompt",
    "import ",
]


def invoke(*arguments: str) -> str:
    """Returns what a command that succeeds prints."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


class TestPresets:
    def test_lists_every_preset_with_its_description(self) -> None:
        printed = invoke("presets")
        assert all(name in printed for name in HardwareSpec.preset_names())
        assert HardwareSpec.load("demo").description in printed

    def test_describes_one(self) -> None:
        assert invoke("presets", "a6000-csd").strip() == HardwareSpec.load("a6000-csd").describe()

    def test_prints_one_as_json_that_can_be_read_back(self) -> None:
        hw = HardwareSpec.from_dict(json.loads(invoke("presets", "demo", "--json")))
        assert hw == HardwareSpec.load("demo")

    def test_prints_the_list_as_json(self) -> None:
        assert set(json.loads(invoke("presets", "--json"))) == set(HardwareSpec.preset_names())


class TestPlan:
    def test_prints_the_report(self) -> None:
        printed = invoke(*PLAN, "--policy", "instinfer")
        assert "instinfer" in printed
        assert "csd0" in printed
        assert max(map(len, printed.splitlines())) <= 100

    def test_prints_json(self) -> None:
        assert json.loads(invoke(*PLAN, "--json"))["policy"] == "auto"

    def test_simulates_beside_the_prediction(self) -> None:
        printed = invoke(*PLAN, "--policy", "instinfer", "--simulate")
        _, _, simulation = printed.partition("SIMULATION")
        assert [line.split()[0] for line in simulation.splitlines()[3:6]] == ["prefill", "decode", "tokens/s"]
        assert "csd0.up" in simulation
        assert max(map(len, simulation.splitlines())) <= 100

    def test_puts_the_simulation_into_json(self) -> None:
        data = json.loads(invoke(*PLAN, "--policy", "instinfer", "--simulate", "--json"))
        predicted = data["simulated"]["prefill_s"] + data["simulated"]["decode_s"]
        assert data["simulated"]["total_s"] == pytest.approx(predicted)

    def test_a_sweep_is_not_simulated(self) -> None:
        result = CliRunner().invoke(app, [*PLAN, "--sweep", "batch=1,2", "--simulate"])
        assert result.exit_code != 0
        assert "leave out --save, --print-after and --simulate" in " ".join(result.output.split())

    def test_takes_a_number_of_gpus(self) -> None:
        assert "gpu0-3 compute together" in invoke(*PLAN, "--policy", "gpu-only", "--gpus", "4")

    def test_takes_a_number_of_drives(self) -> None:
        assert "csd0-1" in invoke(*PLAN, "--policy", "instinfer", "--drives", "2")

    def test_plans_a_model_known_by_name_alone(self) -> None:
        printed = invoke("plan", "opt-125m", "--hw", "a6000-csd", "--prompt-len", "64", "--decode-len", "8")
        assert "opt-125m" in printed

    def test_saves_a_plan_that_runs(self, tmp_path: Path) -> None:
        file = tmp_path / "plan.json"
        invoke(*PLAN, "--policy", "instinfer", "--save", str(file))
        printed = json.loads(invoke(*RUN, "--plan", str(file), "--json"))
        assert printed["policy"] == "instinfer"


class TestRun:
    def test_prints_text_and_speed(self) -> None:
        printed = invoke(*RUN)
        assert "--- prompt 1\nimport " in printed
        assert "tokens/s" in printed
        assert "predicted" in printed

    def test_prints_json(self) -> None:
        printed = json.loads(invoke(*RUN, "--policy", "instinfer", "--json"))
        assert [len(row) for row in printed["tokens"]] == [3, 3]
        assert printed["measured"]["flash_read_bytes"] >= 0
        assert set(printed["measured"]["busy_s"]) >= {"gpu0", "csd0"}

    def test_keeps_pages_of_drives_in_a_folder(self, tmp_path: Path) -> None:
        kept = ["--policy", "instinfer", "--json"]
        in_memory = json.loads(invoke(*RUN, *kept))
        assert json.loads(invoke(*RUN, *kept, "--drive-folder", str(tmp_path))) == in_memory
        assert not list(tmp_path.iterdir())

    def test_refuses_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(app, [*RUN, "--drive-folder", str(tmp_path / "nowhere")])
        assert result.exit_code == 2
        assert "--drive-folder" in result.output

    def test_reads_prompts_from_a_text_file(self, tmp_path: Path) -> None:
        file = tmp_path / "prompt.txt"
        file.write_text("x = [", encoding="utf-8")
        printed = json.loads(
            invoke(
                "run",
                "tiny",
                "--clock",
                "virtual",
                "--max-new-tokens",
                "2",
                "--prompt-file",
                str(file),
                "--json",
            )
        )
        assert printed["prompts"] == ["x = ["]

    def test_reads_prompts_from_a_json_file(self, tmp_path: Path) -> None:
        file = tmp_path / "prompts.json"
        file.write_text(json.dumps(["a = 1", "b"]), encoding="utf-8")
        printed = json.loads(
            invoke(
                "run",
                "tiny",
                "--clock",
                "virtual",
                "--max-new-tokens",
                "2",
                "--prompt-file",
                str(file),
                "--json",
            )
        )
        assert printed["prompts"] == ["a = 1", "b"]


def test_bench_prints_settings_and_ratios_and_writes_a_plot(tmp_path: Path) -> None:
    file = tmp_path / "bench.png"
    arguments = (
        "bench",
        "tiny",
        "--policies",
        "flexgen-ssd,instinfer",
        "--batches",
        "2",
        "--clock",
        "virtual",
    )
    prompts = ("--prompt", "def f(x):", "--prompt", "import os")
    options = ("--max-new-tokens", "2", "--repeats", "1", "--json", "--plot", str(file))
    report = json.loads(invoke(*arguments, *prompts, *options))
    assert [(row["policy"], row["batch_size"]) for row in report["rows"]] == [
        ("flexgen-ssd", 2),
        ("instinfer", 2),
    ]
    assert all(row["ratio"]["same_tokens"] for row in report["rows"])
    assert report["machine"]["versions"]["jax"]
    assert file.read_bytes().startswith(b"\x89PNG")


def test_bench_runs_a_grid_and_leaves_out_what_does_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    grid = ("--policies", "gpu-only", "--batches", "1,400", "--contexts", "8", "--drives", "1,2")
    sizes = ("--max-new-tokens", "2", "--repeats", "1", "--clock", "virtual")
    result = CliRunner().invoke(app, ["bench", "tiny", *grid, *sizes, "--save", str(file)])
    assert result.exit_code == 0, result.output
    report = json.loads(file.read_text(encoding="utf-8"))
    assert [
        (row["policy"], row["prompt_len"], row["batch_size"], row["num_drives"]) for row in report["rows"]
    ] == [
        ("gpu-only", 8, 1, 1),
        ("gpu-only", 8, 1, 2),
    ]
    assert "left out: gpu-only, batch 400 x 8 tokens, 2 drives: nothing fits" in result.stderr
    assert report["summary"]["num_rows"] == 2


@pytest.mark.parametrize(
    "command", ["plan", "run", "bench", "accuracy", "presets", "demo", "reproduce", "calibrate"]
)
def test_every_command_has_help(command: str) -> None:
    assert command in invoke("--help")
    assert invoke(command, "--help")
