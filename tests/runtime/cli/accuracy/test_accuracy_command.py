"""``instinfer accuracy`` on texts that are small enough for a test."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models import load_pretrained
from models.accuracy.weights_digest import weights_sha256
from partitioner.accuracy.sensitivities import Sensitivities
from runtime.cli.main import app

TEXT = "".join(f"def function_{n}(value):\n    return value + {n * n}\n\n\n" for n in range(40))


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "text.py").write_text(TEXT)
    return str(tmp_path / "text.py")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["accuracy", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["accuracy", *arguments])
    assert result.exit_code == 2
    return result.stderr


def test_the_study_is_printed_and_written(text: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    small = ("--text", text, "--context", "256", "--texts", "2", "--needles", "1", "--out", str(out))
    printed = run("tiny", *small, "--methods", "sparf,window", "--ratios", "1,1/8")
    assert printed.rstrip() == (out / "accuracy.txt").read_text().rstrip()
    assert (out / "accuracy.png").stat().st_size > 10_000
    study = json.loads((out / "accuracy.json").read_text())
    exact, sparf, window = study["text_rows"]
    assert [row["method"] for row in study["text_rows"]] == ["exact", "sparf", "window"]
    assert (exact["loss"], exact["entries"], exact["pages"]) == (0.0, 1.0, 1.0)
    assert sparf["entries"] == pytest.approx(1 / 8, rel=0.03)
    assert sparf["loss"] < window["loss"]
    assert window["pages"] is None
    assert window["loss"] > 0.01
    line = next(line for line in printed.splitlines() if line.lstrip().startswith("window"))
    assert " x " in line
    assert len(study["needle_rows"]) == 3 * 5
    assert study["python"]


def test_losses_are_measured_and_a_choice_is_held_against_other_text(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.cli.accuracy.measure.COMPRESSIONS", (2.0, 8.0))
    monkeypatch.setattr("runtime.cli.accuracy.measure.BUDGETS", (0.05,))
    small = ("--text", text, "--context", "128", "--texts", "2")
    run("tiny", *small, "--sensitivities", "--out", str(tmp_path))
    measured = Sensitivities.load(tmp_path / "sensitivities.json")
    assert (measured.num_layers, measured.compressions, measured.excerpts) == (4, (2.0, 8.0), 2)
    assert measured.joint
    checked = json.loads(run("tiny", *small, "--budget", "0.02", "--json"))
    assert checked["text_sha256"] != measured.text_sha256
    assert checked["entries"] < 1
    assert checked["holds"] == (checked["loss"] <= 0.02)


def test_the_shipped_losses_are_those_of_the_shipped_weights() -> None:
    model = load_pretrained("tiny")
    assert model.sensitivities is not None
    measured = Sensitivities.load(model.sensitivities)
    assert measured.weights_sha256 == weights_sha256(model)
    assert measured.num_layers == model.config.num_layers


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--methods", "windo"), "no method 'windo'; did you mean 'window'?"),
        (("--ratios", "2"), "'2' is not accepted; give shares of at most 1"),
        (("--context", "4096"), "longer than the model's 2048 positions"),
        (("--text", "none.txt"), "cannot read 'none.txt'"),
        (("--budget", "0.01", "--sensitivities"), "give one of them at a time"),
        (("--budget", "2"), "0.01 allows 1 %"),
        (("--budget", "0.01", "--out", "."), "leave out --plot, and --out with --budget"),
        (("--sensitivities", "--plot", "a.png"), "leave out --plot, and --out with --budget"),
    ],
)
def test_other_arguments_are_refused(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused("tiny", *arguments)
