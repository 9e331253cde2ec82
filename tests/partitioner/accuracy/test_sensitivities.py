import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from partitioner import AccuracyError
from partitioner.accuracy.sensitivities import JointLoss, Sensitivities

from .measured import sensitivities

FULL = sensitivities([(0.001, 0.01)], joint=(JointLoss((4.0,), 0.01, 0.011, 0.001),))


def test_files_give_back_what_was_saved(tmp_path: Path) -> None:
    FULL.save(tmp_path / "s.json")
    assert Sensitivities.load(tmp_path / "s.json") == FULL


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "other"}, "no sensitivities of version 1; measure them with"),
        ({"version": 2}, "no sensitivities of version 1"),
        ({"more": 1}, "'more' is wrong"),
        ({"losses": None}, "malformed .* measure them again"),
        ({"joint": [{}]}, "malformed"),
        ({"losses": [[0.1]]}, "a loss and an error at each for every layer"),
        ({"losses": [[0.1, float("inf")]]}, "not finite; measure them again"),
        ({"joint": [{**asdict(FULL.joint[0]), "measured": float("nan")}]}, "not finite; measure them again"),
        ({"compressions": [1, 2]}, "at compressions above 1"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps({**FULL.to_dict(), **changes}))
    with pytest.raises(AccuracyError, match=said):
        Sensitivities.load(path)


def test_files_that_are_not_there_or_not_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        AccuracyError, match=r"cannot read sensitivities .*instinfer accuracy --sensitivities"
    ):
        Sensitivities.load(tmp_path / "none.json")
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(AccuracyError, match=r"is not JSON in UTF-8 .* measure it again"):
        Sensitivities.load(tmp_path / "s.json")
