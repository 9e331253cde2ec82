"""A session on drives generates from every family's checkpoint what Hugging Face transformers generates.

The reference's tokens lead by at least 5e-3 of the logits' standard deviation, some hundred times what another order of float32
sums moves a logit by, so a token that differs is an error of the model or the session.
"""

import pytest

from models import load_pretrained
from partitioner import Workload, partition
from runtime import Session
from tests.models.reference_checkpoints import CHECKPOINTS, FAMILIES, FOLDER, reference
from tests.runtime.tiny_models import demo_hardware

NUM_LAYERS, NUM_NEW_TOKENS = 3, 32
WORKLOAD = Workload(batch_size=2, prompt_len=24, decode_len=NUM_NEW_TOKENS)


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_equal_the_reference(name: str) -> None:
    """Every attention runs on the drive, those with windows too."""
    model = load_pretrained(FOLDER / name, lazy=True, **CHECKPOINTS[name])
    hw = demo_hardware().replace("drive.flash.page_bytes", 512)
    plan = partition(model, hw, WORKLOAD, "instinfer")
    with Session(plan, model, clock="virtual") as session:
        result = session.generate(reference(name).prompts.tolist(), max_new_tokens=NUM_NEW_TOKENS)
    assert result.tokens == reference(name).continuation[:, :NUM_NEW_TOKENS].tolist()
    on_drives = [op for op in plan.ops("decode") if op.kind == "attention"]
    assert len(on_drives) == NUM_LAYERS
    assert not plan.decode.graph.unraised
    assert result.drive_health
