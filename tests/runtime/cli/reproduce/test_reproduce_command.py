"""``instinfer reproduce`` and ``instinfer calibrate``, as a user types them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cost_models import HardwareError, HardwareSpec
from runtime.cli.main import app
from runtime.cli.reproduce.figure import Figure, Panel, Series
from runtime.cli.reproduce.fit import FREE, copies_in_host_memory
from runtime.cli.reproduce.plot import draw
from runtime.cli.reproduce.preset_files import FOLDER, NAMES, rounded, with_software, write_presets

SOFTWARE = HardwareSpec.load("paper-a6000-csd").software


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def test_one_figure_as_text_and_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    result = invoke("reproduce", "--figure", "io", "--out", str(folder))
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert {file.name for file in folder.iterdir()} == {"io.png", "reproduce.json", "reproduce.txt"}
    assert (folder / "io.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "reproduce.txt").read_text(encoding="utf-8") == result.stdout
    data = json.loads((folder / "reproduce.json").read_text(encoding="utf-8"))
    assert set(data) == {"figures"}
    assert data["figures"]["io"]["rows"][0][:2] == ["decode read, GB", 1085.65]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("reproduce", "--figure", "troughput"), "unknown figure 'troughput'; did you mean 'throughput'?"),
        (("reproduce", "--figure", "zzz"), "unknown figure 'zzz'; known are throughput, breakdown, scaling"),
        (("calibrate", "--dry-run"), "--dry-run is of --paper; to write no file, leave out --out"),
        (("calibrate", "--paper", "--out", "a.toml"), "--paper writes to the presets it fits"),
    ],
)
def test_bad_arguments_give_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept", encoding="utf-8")
    result = invoke("reproduce", "--figure", "io", "--out", str(file))
    assert result.exit_code == 2
    assert "give a folder that can be written or made" in result.stderr
    assert file.read_text(encoding="utf-8") == "kept"


def test_a_failing_plot_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(figure: Figure, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runtime.cli.reproduce.plot.draw", broken)
    result = invoke("reproduce", "--figure", "io", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["lines", "bars"])
def test_plots_have_gaps_where_nothing_fits(tmp_path: Path, form: Any) -> None:
    series = (
        Series("ours", (1.0, None, 3.0)),
        Series("more", (2.0, 1.0, 1.0)),
        Series("paper", (None, 2.0, 4.0), True),
    )
    panel = Panel("title", "x", "y", ("a", "b", "c"), series, form)
    draw(Figure("name", "title", ("x",), ((1.0,),), (panel, panel)), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5_000


class TestPresets:
    def test_values_change_and_sources_stay(self, tmp_path: Path) -> None:
        assert SOFTWARE is not None
        for name in NAMES:
            (tmp_path / f"{name}.toml").write_bytes((FOLDER / f"{name}.toml").read_bytes())
        other = rounded(
            dataclasses.replace(SOFTWARE, layer_s=0.0123456, engine_flops=1e11, host_bytes_per_kv_byte=3.0)
        )
        write_presets(other, tmp_path)
        for name in NAMES:
            before, after = HardwareSpec.load(name), HardwareSpec.load(tmp_path / f"{name}.toml")
            assert after.software == other
            assert dataclasses.replace(after, software=before.software) == before
        assert {file.suffix for file in tmp_path.iterdir()} == {".toml"}

    def test_a_file_without_a_value_is_named_and_nothing_is_written(self, tmp_path: Path) -> None:
        assert SOFTWARE is not None
        texts = [(FOLDER / f"{name}.toml").read_text(encoding="utf-8") for name in NAMES]
        (tmp_path / f"{NAMES[0]}.toml").write_text(texts[0], encoding="utf-8")
        (tmp_path / f"{NAMES[1]}.toml").write_text(
            texts[1].replace("\nlayer_s", "\n# layer_s"), encoding="utf-8"
        )
        other = dataclasses.replace(SOFTWARE, layer_s=1.0)
        with pytest.raises(HardwareError, match=rf"{NAMES[1]}.toml has no line 'layer_s = .* restore it"):
            write_presets(other, tmp_path)
        assert (tmp_path / f"{NAMES[0]}.toml").read_text(encoding="utf-8") == texts[0]

    def test_values_that_were_not_rounded(self) -> None:
        assert SOFTWARE is not None
        text = (FOLDER / f"{NAMES[0]}.toml").read_text(encoding="utf-8")
        with pytest.raises(
            HardwareError, match="does not read back as what was fitted; round the values first"
        ):
            with_software(text, dataclasses.replace(SOFTWARE, layer_s=0.0123456789), "a.toml")

    def test_no_folder(self, tmp_path: Path) -> None:
        assert SOFTWARE is not None
        with pytest.raises(HardwareError, match=r"cannot write the presets in .*use --dry-run"):
            write_presets(SOFTWARE, tmp_path / "none")


def test_the_copies_in_host_memory_are_what_the_presets_have() -> None:
    assert SOFTWARE is not None
    assert copies_in_host_memory() == SOFTWARE.host_bytes_per_kv_byte
    assert len(FREE) == len(dataclasses.fields(SOFTWARE)) - 1
