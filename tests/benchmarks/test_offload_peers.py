"""KV offload in plain JAX: the tokens of plain jit, times by the throttle, and what is reported as missed."""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from benchmarks.decode_step import PlainJit
from benchmarks.gain.bars import Comparison
from benchmarks.gain.compare import windows
from benchmarks.measured_gain import HARDWARE
from benchmarks.peers.compared import Peer, lines_of, missed_bars, table
from benchmarks.peers.generate import Generated, Offload
from benchmarks.peers.kv_store import FileStore, HostStore
from benchmarks.peers.layered_decoder import LayeredDecoder
from benchmarks.peers.throttle import Rates, at_least
from cost_models import HardwareSpec
from models import Transformer, TransformerConfig, load_pretrained
from tests.benchmarks.test_gain_bars import TOKENS, held

FREE = Rates(math.inf, math.inf, math.inf, math.inf, 0.0)
SHAPE = (2, 2, 4, 24, 64)
"""Keys and values of a layer of the shipped model, for two rows of 24 tokens."""


@pytest.fixture(scope="module")
def model() -> Transformer:
    return load_pretrained("tiny")


@pytest.fixture(scope="module")
def decoder(model: Transformer) -> LayeredDecoder:
    return LayeredDecoder(model)


@pytest.fixture(scope="module")
def prompts(model: Transformer) -> np.ndarray:
    return windows(model, 2, 16)


@pytest.fixture(scope="module")
def expected(model: Transformer, prompts: np.ndarray) -> np.ndarray:
    return PlainJit(model, 24).generate(prompts, 8)[0]


class TestTokens:
    """Whatever fetches the cache, the tokens are those of plain jit."""

    def test_from_host_memory(
        self, decoder: LayeredDecoder, prompts: np.ndarray, expected: np.ndarray
    ) -> None:
        made = Offload(decoder, HostStore(4, SHAPE), FREE).generate(prompts, 8)
        np.testing.assert_array_equal(made.tokens, expected)

    def test_from_files(
        self, decoder: LayeredDecoder, prompts: np.ndarray, expected: np.ndarray, tmp_path: Path
    ) -> None:
        made = Offload(decoder, FileStore(4, SHAPE, tmp_path, FREE), FREE).generate(prompts, 8)
        np.testing.assert_array_equal(made.tokens, expected)
        kept = np.fromfile(tmp_path / "layer3.kv", np.float16).reshape(SHAPE)
        assert np.any(kept[..., :23, :] != 0, axis=(0, 1, 2, 4)).all()
        assert not kept[..., 23, :].any()


def test_a_model_of_one_layer_is_refused() -> None:
    config = replace(TransformerConfig.named("tiny"), num_layers=1)
    decoder = LayeredDecoder(Transformer(config, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="cannot be fetched ahead; take a model with two or more"):
        Offload(decoder, HostStore(1, SHAPE), FREE)


def test_what_is_throttled_takes_its_time() -> None:
    begun_s = time.perf_counter()
    with at_least(0.02):
        pass
    assert time.perf_counter() - begun_s >= 0.02


def test_rates_are_those_of_the_description() -> None:
    rates = Rates.of(HardwareSpec.load(HARDWARE).with_drives(2))
    assert (rates.gpu_link_bytes_per_s, rates.drive_link_bytes_per_s) == (8e6, 70e6)
    assert rates.compute_s(0.0, 192e6 * 0.896) == pytest.approx(1.0 + 1e-3)


class TestBars:
    """A peer is held to the factor of the policy that moves the same bytes."""

    COMPARISON = Comparison((held("flexgen-ssd", 3.0, 3.0), held("instinfer", 1.0, 1.0)), TOKENS)

    def peer(self, decode_s: float, tokens: tuple[tuple[int, ...], ...] = TOKENS) -> Peer:
        return Peer("files", "flexgen-ssd", (Generated(np.array(tokens), decode_s),))

    def test_a_factor_as_predicted_is_not_missed(self) -> None:
        lines = lines_of(self.COMPARISON, [self.peer(3.5)])
        assert missed_bars(lines) == []
        assert lines[-1].ratio == pytest.approx(3.5 / 3.0)
        assert table(lines).splitlines()[-1].split() == [
            "files",
            "1.3",
            "1.1",
            "0.0%",
            "3.00",
            "3.50",
            "1.167",
            "yes",
        ]

    @pytest.mark.parametrize("decode_s", [2.3, 3.7])
    def test_a_factor_too_far_off_is_said(self, decode_s: float) -> None:
        (missed,) = missed_bars(lines_of(self.COMPARISON, [self.peer(decode_s)]))
        assert missed == (
            f"instinfer is faster than files by {decode_s:.2f}, which is 23% from the predicted 3.00; the bar is 20%"
        )

    def test_other_tokens_are_said(self) -> None:
        (missed,) = missed_bars(lines_of(self.COMPARISON, [self.peer(3.0, ((1, 2, 3), (4, 5, 7)))]))
        assert missed == "the tokens of files are not those of plain jit"
