"""Paths to K and V of layers that repeat earlier ones are those that following them gives."""

from dataclasses import replace

import pytest

from partitioner.equation_repeats import NOTHING
from partitioner.front import Traced
from partitioner.jaxpr import Var
from partitioner.passes.kv_candidates import KvCandidate, KvFinder, kv_candidates
from partitioner.passes.split_equations import split_equations
from tests.partitioner.small_models import LLAMA, OPT, abstract_transformer, traced

LAYERS = 7
WIDE = {"param_dtype": "float16", "compute_dtype": "float16", "num_layers": LAYERS}
MODELS = {
    "opt": OPT.replace(**WIDE),
    "rotary": LLAMA.replace(num_kv_heads=4, **WIDE),
    "rotary with head norms": LLAMA.replace(num_kv_heads=4, qk_norm=True, **WIDE),
    "refused": LLAMA.replace(num_kv_heads=2, **WIDE),
}


def candidates(found: Traced, *, repeated: bool) -> dict[str, KvCandidate | str]:
    splits = [split_equations(graph.phase) for graph in found.graphs]
    for split in splits:
        if not repeated:
            vars(split)["repeats"] = NOTHING
    finders = [KvFinder(graph, split) for graph, split in zip(found.graphs, splits, strict=True)]
    ops = {op.name: op.attention for op in found.graphs[-1].ops if op.attention}
    return kv_candidates(ops, finders)


@pytest.mark.parametrize("name", MODELS)
def test_repeated_paths_are_those_that_following_gives(name: str) -> None:
    model = traced(abstract_transformer(MODELS[name]))
    found, expected = candidates(model, repeated=True), candidates(model, repeated=False)
    assert len(found) == LAYERS
    assert found == expected
    first, *_, last = (c for c in found.values())
    assert isinstance(last, str) == (name == "refused")
    if isinstance(first, KvCandidate) and isinstance(last, KvCandidate):
        assert last.decode.source is not first.decode.source
        assert last.form == first.form


def test_most_layers_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = traced(abstract_transformer(MODELS["opt"]))
    asked: list[Var] = []
    follow = KvFinder.path

    def counted(self: KvFinder, attention: object, source: Var) -> object:
        asked.append(source)
        return follow(self, attention, source)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(KvFinder, "path", counted)
    candidates(model, repeated=True)
    assert len(asked) < 2 * LAYERS
    asked.clear()
    candidates(model, repeated=False)
    assert len(asked) == 2 * LAYERS


def test_an_attention_with_other_caches_is_followed_by_itself() -> None:
    """What a candidate saves is told by its own K and V."""
    model = traced(abstract_transformer(MODELS["opt"]))
    ops = {op.name: op.attention for op in model.graphs[-1].ops if op.attention}
    last = list(ops)[-2]
    ops[last] = replace(ops[last], num_kv_heads=1)
    splits = [split_equations(graph.phase) for graph in model.graphs]
    finders = [KvFinder(graph, split) for graph, split in zip(model.graphs, splits, strict=True)]
    found = kv_candidates(ops, finders)
    assert isinstance(found[last], str)
    assert sum(isinstance(c, KvCandidate) for c in found.values()) == LAYERS - 1
