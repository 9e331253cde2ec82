"""What users get wrong: one line on standard error, exit status 2, no traceback."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.cli.main import app

PROMPT = ("--prompt", "x")
CASES = {
    "unknown model to plan": (
        ("plan", "gpt-9"),
        r"unknown model 'gpt-9'.*known are .*or give a checkpoint folder",
    ),
    "model without weights": (
        ("run", "opt-13b", *PROMPT),
        r"no checkpoint folder 'opt-13b'.*can be planned, not run",
    ),
    "unknown preset": (("presets", "b200"), r"no preset or file 'b200'; presets are .*a6000-csd"),
    "unknown hardware": (("plan", "tiny", "--hw", "b200"), r"no preset or file 'b200'"),
    "unknown policy": (
        ("plan", "tiny", "--hw", "demo", "--policy", "magic"),
        r"unknown policy 'magic'; known are auto",
    ),
    "unknown objective": (
        ("plan", "tiny", "--hw", "demo", "--objective", "speed"),
        r"unknown objective 'speed'; known are tokens-per-second",
    ),
    "objective without its prices": (
        ("plan", "tiny", "--hw", "demo", "--sweep", "batch=1,2", "--objective", "dollar"),
        r"objective 'dollar' needs the price and the power of every device, and demo lacks gpu.price_usd",
    ),
    "no prompt": (("run", "tiny"), r"no prompt was given; use --prompt"),
    "empty prompt": (("run", "tiny", "--prompt", ""), r"a prompt is empty"),
    "no prompt file": (
        ("run", "tiny", "--prompt-file", "/nowhere"),
        r"prompt file '/nowhere' cannot be read",
    ),
    "batches that are words": (
        ("bench", "tiny", "--batches", "one"),
        r"--batches must be whole numbers .*got 'one'",
    ),
    "batch of zero": (
        ("bench", "tiny", "--batches", "0,1"),
        r"--batches must be whole numbers of at least 1",
    ),
    "batch named twice": (
        ("bench", "tiny", "--batches", "2,2"),
        r"--batches must name each number once, got '2,2'",
    ),
    "no context": (
        ("bench", "tiny", "--contexts", ""),
        r"--contexts must be whole numbers of at least 1 separated by commas, got ''",
    ),
    "drives that are no numbers": (
        ("bench", "tiny", "--drives", "1,two"),
        r"--drives must be whole numbers of at least 1 .*got '1,two'",
    ),
    "report of no format": (("bench", "tiny", "--save", "a.txt"), r"the suffix must be one of \.json"),
    "unknown policy in a grid": (
        ("bench", "tiny", "--policies", "auto,instinfr", "--contexts", "8"),
        r"unknown policy 'instinfr'; did you mean 'instinfer'\?",
    ),
    "slots without requests": (
        ("run", "tiny", "--slots", "2"),
        r"--slots is of --requests; give a file of requests, or leave it out",
    ),
    "no policies": (("bench", "tiny", "--policies", ","), r"--policies names no policy"),
    "policy without its engine": (
        ("plan", "tiny", "--hw", "a6000-ssd", "--policy", "instinfer"),
        r"policy 'instinfer' runs attention inside the drive.*no engine",
    ),
    "too large a model": (
        (
            "plan",
            "opt-1.3b",
            "--hw",
            "demo",
            "--policy",
            "gpu-only",
            "--prompt-len",
            "8",
            "--decode-len",
            "4",
        ),
        r"gpu0",
    ),
    "plan file that is none": (("run", "tiny", *PROMPT, "--plan", "/nowhere.json"), r"/nowhere\.json"),
    "plot in no folder": (
        ("bench", "tiny", "--plot", "/nowhere/a.png"),
        r"cannot write '/nowhere/a\.png': there is no folder '/nowhere'",
    ),
    "plot of no format": (
        ("bench", "tiny", "--plot", "a.doc"),
        r"the suffix must be one of \.png, \.svg, \.pdf",
    ),
    "plan saved in no folder": (
        ("plan", "tiny", "--save", "/nowhere/a.json"),
        r"there is no folder '/nowhere'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_argument_gives_one_line(case: str) -> None:
    arguments, message = CASES[case]
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    assert re.search(rf"^Error: .*{message}", lines[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1]", "must hold a JSON list of strings"), ("[", "not well-formed JSON")],
)
def test_a_wrong_prompt_file_gives_one_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(content, encoding="utf-8")
    result = CliRunner().invoke(app, ["run", "tiny", "--prompt-file", str(file)])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_wrong_option_is_refused_by_name() -> None:
    result = CliRunner().invoke(app, ["plan", "tiny", "--batch", "0"])
    assert result.exit_code == 2
    assert "--batch" in result.stderr


def test_an_error_that_is_not_the_users_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ValueError("a fault of the program")

    monkeypatch.setattr("cost_models.HardwareSpec.preset_names", staticmethod(broken))
    result = CliRunner().invoke(app, ["presets"])
    assert isinstance(result.exception, ValueError)
