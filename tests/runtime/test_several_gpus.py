"""Sessions on several GPUs generate the tokens of plain jit on one device, whatever is cut over them.

JAX shows as many CPU devices as it is told before it starts, so each test runs in a process of its own, where compilers do as
little as they can. Margins as in :mod:`tests.runtime.test_same_tokens`; sums over heads and columns have another order.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.test_same_tokens import HEALTHY_MARGIN

ROOT = Path(__file__).parents[2]


def generated(*cases: str) -> dict[str, Any]:
    """Returns what :mod:`tests.runtime.generate_on_gpus` says of cases, once their tokens are right."""
    command = [sys.executable, "-W", "error", "-m", "tests.runtime.generate_on_gpus", *cases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    for case in cases:
        assert found[case]["margin"] > HEALTHY_MARGIN, case
        assert found[case]["tokens"] == found[case]["expected"], case
    return found


def test_policies() -> None:
    """Heads and hidden columns of an OPT-like model are cut, on each tier that may attend."""
    policies = "gpu-only", "deepspeed-host", "instinfer", "auto"
    found = generated(*(f"opt {policy}" for policy in policies))
    homes = [found[f"opt {policy}"]["homes"] for policy in policies]
    assert homes == [["gpu0"], ["host"], ["csd0", "csd1"], ["csd0", "csd1", "gpu0"]]
    gpu_only = found["opt gpu-only"]
    assert gpu_only["decode_s"] == pytest.approx(gpu_only["simulated_s"], rel=1e-9)
    cut = {name: axis for name, axis in gpu_only["cut"].items() if name.startswith(("0.", "blocks.0."))}
    by_columns = {f"blocks.0.attention.{n}.kernel": 1 for n in ("query", "key", "value")}
    biases = {name.replace("kernel", "bias"): 0 for name in (*by_columns, "blocks.0.mlp.up.kernel")}
    by_rows = {"blocks.0.attention.out.kernel": 0, "blocks.0.mlp.down.kernel": 0}
    assert cut == {"0.key": 1, "0.value": 1, "blocks.0.mlp.up.kernel": 1, **by_columns, **biases, **by_rows}
    assert gpu_only["counted"] == {"all_reduce": 4}
    assert {n for n, parts in gpu_only["parts"].items() if parts == 2} == gpu_only["cut"].keys() - {
        f"{layer}.{cache}" for layer in (0, 1) for cache in ("key", "value")
    }


def test_front_ends_vocabularies_and_heads_that_cannot_be_shared_evenly() -> None:
    """A model in Linen, one of Flax's own attention that is fed token by token, one that ties its embedding, and 2 KV heads."""
    every = generated("linen gpu-only", "nnx gpu-only", "vocabulary gpu-only", "llama gpu-only")
    assert every["linen gpu-only"]["whole"]["params.Embed_0.embedding"] == "single rows of it are read"
    assert every["nnx gpu-only"]["cut"]["attentions.0.cached_key"] == 2
    tied = every["vocabulary gpu-only"]
    assert tied["cut"]["embed.token.embedding"] == 0
    assert tied["counted"] == {"all_reduce": 3, "all_gather": 1}
    found = every["llama gpu-only"]
    assert found["whole"]["0.key"] == "2 KV heads cannot be shared evenly by 4 GPUs"
    assert found["cut"].keys() == {
        f"blocks.{n}.mlp.{name}.kernel" for n in (0, 1) for name in ("gate", "up", "down")
    }
    assert {name for name, parts in found["parts"].items() if parts == 4} == found["cut"].keys()
