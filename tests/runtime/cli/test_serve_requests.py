"""``instinfer run``: requests from a file, text as it comes, and drawn tokens."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.cli.main import app

RUN = ["run", "tiny", "--clock", "virtual", "--policy", "gpu-only", "--max-new-tokens", "6"]


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*RUN, *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_requests_are_served_and_told_in_a_table(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    lines = [
        {"prompt": "def f(x):"},
        {"prompt": "import ", "max_new_tokens": 3, "temperature": 0.8, "top_k": 40, "top_p": 0.9, "seed": 5},
        {"prompt": "class A:\u2028", "eos": None},
    ]
    text = "\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    file.write_text(text, encoding="utf-8")
    printed = invoke("--requests", str(file), "--slots", "2")
    assert "--- request 1\nimport " in printed
    assert "first token after s" in printed
    assert "2 slots, in use" in printed


def test_requests_are_told_as_json(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text('{"prompt": "def f(x):"}\n{"prompt": "import ", "max_new_tokens": 3}\n')
    data = json.loads(invoke("--requests", str(file), "--slots", "2", "--json"))
    assert [len(request["tokens"]) for request in data["requests"]] == [6, 3]
    assert {request["reason"] for request in data["requests"]} == {"length"}
    assert 0 < data["slot_utilisation"] <= 1


def test_streamed_text_is_that_of_the_whole() -> None:
    drawn = ("--temperature", "0.9", "--top-k", "30", "--seed", "4")
    two = ("--prompt", "a\nb", "--prompt", "c")
    whole = json.loads(invoke(*two, *drawn, "--json"))
    lines = invoke(*two, *drawn, "--stream").splitlines()
    for row, prompt in enumerate(("a\nb", "c")):
        told = [line[4:] for line in lines if line.startswith(f"[{row}] ")]
        assert "\n".join(told) == prompt + whole["texts"][row]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": "a"}\n{"prompt": ', "requests.jsonl, line 2: not well-formed JSON"),
        ('\n["a"]', "line 2: a request is a JSON object with a 'prompt' of at least one character"),
        ('{"prompt": ""}', "line 1: a request is a JSON object with a 'prompt'"),
        ('{"prompt": "a", "top-k": 3}', "line 1: unknown top-k; known are prompt, max_new_tokens"),
        ('{"prompt": "a", "max_new_tokens": 0}', "line 1: max_new_tokens is 0; give a whole number"),
        ('{"prompt": "a", "temperature": -1}', "line 1: temperature is -1; give a number of at least 0"),
        ('{"prompt": "a", "eos": "stop"}', "line 1: eos is 'stop'; give a token id"),
        ("\n \n", "holds no request; give a line such as"),
        (None, "cannot be read as text"),
    ],
)
def test_files_that_hold_no_requests(text: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    if text is not None:
        file.write_text(text)
    result = CliRunner().invoke(app, [*RUN, "--requests", str(file)])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--requests", "f", "--prompt", "a"), "--requests goes without --prompt"),
        (("--prompt", "a", "--stream", "--json"), "--stream prints text as it comes; leave out --json"),
        (("--prompt", "a", "--top-p", "2"), "top_p is 2.0; give a number above 0 and up to 1"),
    ],
)
def test_options_that_do_not_go_together(arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, [*RUN, *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
