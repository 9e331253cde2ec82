"""Training of the shipped model: ``python -m models.training.train --out FOLDER``."""

import argparse
import dataclasses
import json
import os
import platform
import time
from pathlib import Path

import flax
import jax
import numpy as np
import optax
from rich.console import Console

from models.checkpoint import load_pretrained, save_pretrained
from models.checkpoint.tokenizer_file import TOKENIZER_FILE
from models.presets import TINY
from models.training.corpus import Corpus, read_corpus, token_stream
from models.training.evaluate import evaluate
from models.training.optimize import TrainResult, train_model
from models.training.sample import sample
from models.training.settings import TrainSettings
from models.training.vocabulary import END, tokenizer_json

STORED_DTYPE = "float16"
RECORD_FILE = "training.json"
SAMPLES_FILE = "samples.txt"
PROMPTS = (
    "import os\nimport sys\n\n\ndef main(",
    'def parse_header(line):\n    """',
    "class Queue:\n    def __init__(self, maxsize=0):\n",
    "    def test_read(self):\n        ",
    "for key, value in ",
)


def main() -> None:
    """Trains, saves, and evaluates what was saved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--minutes", type=float, help="cut the steps to what fits into this time")
    for field in dataclasses.fields(TrainSettings):
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=type(field.default), default=field.default, help="see TrainSettings")
    arguments = vars(parser.parse_args())
    out, minutes = arguments.pop("out"), arguments.pop("minutes")
    settings = TrainSettings(**arguments)
    console = Console(width=100)

    corpus = read_corpus()
    console.print(f"train {corpus.train_bytes:,} bytes, held out {corpus.held_out_bytes:,} bytes")
    rng = np.random.default_rng(settings.seed)
    result = train_model(
        TINY,
        settings,
        stream=token_stream(corpus.train, rng),
        held_out_stream=token_stream(corpus.held_out, rng),
        time_limit_s=None if minutes is None else 60 * minutes,
    )
    save_pretrained(result.model, out, STORED_DTYPE, eos_id=END)
    (out / TOKENIZER_FILE).write_text(tokenizer_json() + "\n", encoding="utf-8")
    metrics = evaluate(out)
    record = make_record(dataclasses.replace(settings, steps=result.num_steps), corpus, result, metrics)
    (out / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    console.print_json(data=metrics)
    samples = sample_all(out)
    (out / SAMPLES_FILE).write_text(samples, encoding="utf-8")
    console.print(samples, markup=False, highlight=False)


def make_record(
    settings: TrainSettings, corpus: Corpus, result: TrainResult, metrics: dict[str, float]
) -> dict[str, object]:
    """Returns what is needed to repeat and to judge a run.

    Args:
        settings: With the steps that were done.
        corpus: What was trained and evaluated on.
        result: Of the training.
        metrics: Of the saved checkpoint.
    """
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "metrics": metrics,
        "settings": dataclasses.asdict(settings),
        "train_s": round(result.train_s, 1),
        "attention_kernel": result.kernel,
        "history": [
            {"step": step, "loss_nats": round(loss, 4), "held_out_bits": round(bits, 4)}
            for step, loss, bits in result.history
        ],
        "corpus": {
            "train_bytes": corpus.train_bytes,
            "held_out_bytes": corpus.held_out_bytes,
            "held_out_modules": [document.path for document in corpus.held_out],
        },
        "versions": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "flax": flax.__version__,
            "optax": optax.__version__,
        },
        "machine": {"device": jax.devices()[0].device_kind, "cpu_cores": os.cpu_count()},
    }


def sample_all(folder: Path, num_tokens: int = 400) -> str:
    """Returns a greedy and a random continuation of every prompt, for people to read."""
    model = load_pretrained(folder)
    parts: list[str] = []
    for prompt in PROMPTS:
        for temperature in (0.0, 0.8):
            text = sample(model, prompt, num_tokens=num_tokens, temperature=temperature)
            parts.append(f"=== {prompt!r}, temperature {temperature}\n{text}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
