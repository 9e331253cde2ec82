"""Every data equation has the label of the module it belongs to."""

from collections.abc import Sequence
from typing import Any

import jax
import pytest
from jax import numpy as jnp

from partitioner.frontend import from_step, trace_phase
from partitioner.jaxpr import Eqn
from partitioner.passes.label_equations import (
    attention_label,
    is_attention_label,
    label_equations,
    module_of,
)
from partitioner.passes.raise_attention import raise_decode_attention
from partitioner.passes.split_equations import split_equations
from tests.partitioner.passes.golden import assert_golden
from tests.partitioner.passes.spellings import SPELLINGS, layered, visible
from tests.partitioner.passes.traces import decode_of, raised_of
from tests.partitioner.small_models import OPT, abstract_transformer, traced


def labelled(forward: Any, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Labels a model ``forward(x, modules)`` on float[batch, 1, 4], where ``modules[name]`` is float[4, 4]."""

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> Any:
        x = params["embed"]["table"][tokens]
        return forward(x, {n: params[n]["kernel"] for n in names}), cache

    square = jax.ShapeDtypeStruct((4, 4), jnp.float32)
    params = {n: {"kernel": square} for n in names} | {"embed": {"table": square}}
    function = from_step(step, params=params, init_cache=lambda rows, slots: jnp.zeros((rows, slots)))
    phase = trace_phase(function, "decode", batch_size=2, chunk=1, max_len=5)
    split = split_equations(phase)
    return shown(phase.equations, label_equations(phase, split, ()))


def shown(equations: Sequence[Eqn], labels: Sequence[str | None]) -> list[tuple[str, str]]:
    rows = zip(labels, equations, strict=True)
    return [(label, e.primitive.name) for label, e in rows if label is not None]


def test_an_equation_belongs_to_the_module_whose_parameter_it_reads() -> None:
    assert labelled(lambda x, m: x @ m["a"] @ m["b"], ("a", "b")) == [
        ("embed", "gather"),
        ("a", "dot_general"),
        ("b", "dot_general"),
    ]


def test_what_feeds_one_module_belongs_to_it() -> None:
    assert ("b", "tanh") in labelled(lambda x, m: jnp.tanh(x @ m["a"]) @ m["b"], ("a", "b"))


def test_what_feeds_several_modules_belongs_to_where_it_comes_from() -> None:
    def forward(x: Any, m: Any) -> Any:
        y = jnp.tanh(x @ m["a"])
        return y @ m["b"] - y @ m["c"]

    rows = labelled(forward, ("a", "b", "c"))
    assert ("a", "tanh") in rows


def test_a_residual_belongs_to_the_later_of_its_streams() -> None:
    rows = labelled(lambda x, m: (x + jnp.tanh(x @ m["a"])) @ m["b"], ("a", "b"))
    assert rows[-3:] == [("a", "tanh"), ("a", "add"), ("b", "dot_general")]


def test_a_gate_belongs_to_the_later_of_its_streams() -> None:
    rows = labelled(
        lambda x, m: (jax.nn.relu(x @ m["gate"]) * (x @ m["up"])) @ m["down"], ("gate", "up", "down")
    )
    assert ("up", "mul") in rows


def test_what_makes_the_logits_belongs_to_where_it_comes_from() -> None:
    assert labelled(lambda x, m: jnp.tanh(x @ m["a"]), ("a",))[-1] == ("a", "tanh")


def test_without_parameters_it_is_the_phase() -> None:
    function = from_step(
        lambda params, tokens, cache, positions, mask: (jnp.tanh(cache[:, :1, None]), cache),
        params={},
        init_cache=lambda rows, slots: jnp.zeros((rows, slots)),
    )
    phase = trace_phase(function, "decode", batch_size=2, chunk=1, max_len=5)
    split = split_equations(phase)
    assert {name for name, _ in shown(phase.equations, label_equations(phase, split, ()))} == {"decode"}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_raised_attention_has_a_label_of_its_own(name: str) -> None:
    phase, split = decode_of(SPELLINGS[name])
    raised, _ = raised_of(SPELLINGS[name])
    labels = label_equations(phase, split, raised)
    of = {id(e): label for e, label in zip(phase.equations, labels, strict=True) if label is not None}
    assert set(of) == {id(e) for e in split.data}
    members = {id(e) for e in raised[0].equations}
    assert {n for n, label in of.items() if label == attention_label(0)} == members
    assert not any(is_attention_label(of[n]) for n in set(of) - members)


def test_what_joins_an_attention_to_the_stream_is_a_residual_of_its_own() -> None:
    """The attention's own label would have the drive add, which runs nothing but attention."""
    phase = trace_phase(layered([visible]), "decode", batch_size=2, chunk=1, max_len=16)
    split = split_equations(phase)
    raised, _ = raise_decode_attention(phase, split, lambda b, n: phase)
    rows = shown(phase.equations, label_equations(phase, split, raised))
    assert ("residual", "add") in rows
    assert [label for label, primitive in rows if primitive == "dot_general"] == [attention_label(0)] * 2


@pytest.mark.parametrize(
    ("param", "module"), [("blocks.0.mlp.up.kernel", "blocks.0.mlp.up"), ("scale", "scale"), ("a.b", "a")]
)
def test_a_module_is_a_parameters_path_without_the_leaf(param: str, module: str) -> None:
    assert module_of(param) == module


def test_labels_of_a_decoder_layer() -> None:
    phase = traced(abstract_transformer(OPT)).graphs[-1].phase
    split = split_equations(phase)
    raised, _ = raise_decode_attention(phase, split, lambda b, n: phase)
    lines: list[str] = []
    for label, primitive in shown(phase.equations, label_equations(phase, split, raised)):
        name = "(attention)" if is_attention_label(label) else label
        if lines and lines[-1].startswith(f"{name}: "):
            lines[-1] += f" {primitive}"
        else:
            lines.append(f"{name}: {primitive}")
    assert_golden("labels-opt", "\n".join(lines))
