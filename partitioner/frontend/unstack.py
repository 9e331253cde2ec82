"""Takes stacked inputs apart: K and V in one array, the caches of all layers, the parameters of scanned layers.

Each element becomes an input of its own with a name such as ``blocks.attention.key[3]``, so that layers may live in different
places. Slices, updates and stacks at indices that the trace fixes are followed; what an equation needs the whole of is
not taken apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from partitioner.frontend.stacked import Emitter, Stacked, Value
from partitioner.frontend.traced import TracedInput, TracedOutput
from partitioner.frontend.unstack_rules import RULES
from partitioner.jaxpr import Atom, Eqn, Var, drop_dead, fresh_variables, shape_of, variables

Axes = Mapping[str, int]
"""Along which axis the inputs of a round are taken apart, by name."""

_CACHE_AXES = 4
"""Of one K or V cache of one layer: row, KV head, token, head size. A cache with more is a stack of such."""


@dataclass(frozen=True, eq=False)
class Interface:
    """Holds the equations of a phase with their inputs and outputs."""

    inputs: tuple[TracedInput, ...]
    equations: tuple[Eqn, ...]
    outputs: tuple[TracedOutput, ...]


def unstack(phase: Interface, rounds: Sequence[Axes] | None = None) -> tuple[Interface, tuple[Axes, ...]]:
    """Returns a phase with its stacked inputs taken apart, and along which axes.

    Args:
        phase: The phase as traced.
        rounds: What another phase of the same model took apart, round by round; None to find out. Arrays of which this phase
            needs the whole are put together from their elements.
    """
    if rounds is not None:
        for axes in rounds:
            phase, _ = _taken_apart(phase, axes)
        return phase, tuple(rounds)
    found: list[Axes] = []
    while axes := _separable_caches(phase):
        sizes = {shape_of(i.var)[axes[i.name]] for i in phase.inputs if i.name in axes}
        params = {
            i.name: 0
            for i in phase.inputs
            if i.role == "param" and shape_of(i.var)[:1] and shape_of(i.var)[0] in sizes
        }
        axes = {**axes, **_separable_params(phase, axes, params)}
        found.append(axes)
        phase, _ = _taken_apart(phase, axes)
    return phase, tuple(found)


def _separable_caches(phase: Interface) -> Axes:
    """Returns an axis for each stack of caches along which all equations can be followed."""
    shapes = {i.name: shape_of(i.var) for i in phase.inputs if i.role == "cache"}
    tried = {name: 0 for name, shape in shapes.items() if len(shape) > _CACHE_AXES}
    while tried:
        needed = _taken_apart(phase, tried)[1] & set(tried)
        if not needed:
            return tried
        tried = {
            name: axis + (name in needed)
            for name, axis in tried.items()
            if axis + (name in needed) < len(shapes[name])
        }
    return {}


def _separable_params(phase: Interface, caches: Axes, params: Axes) -> Axes:
    """Returns those stacks of parameters of which no equation needs the whole."""
    readers: dict[Var, list[Eqn]] = {}
    for eqn in phase.equations:
        for v in variables(eqn.invars):
            readers.setdefault(v, []).append(eqn)
    described = {i.name: i.var for i in phase.inputs}
    params = {
        name: axis for name, axis in params.items() if all(map(_takes_one, readers.get(described[name], ())))
    }
    while params and (needed := _taken_apart(phase, {**caches, **params})[1] & set(params)):
        params = {name: axis for name, axis in params.items() if name not in needed}
    return params


def _takes_one(eqn: Eqn) -> bool:
    """Tells an equation that takes one element along the first axis, or changes the dtype of all."""
    return eqn.primitive.name == "convert_element_type" or (
        eqn.primitive.name in ("slice", "dynamic_slice") and shape_of(eqn.outvars[0])[0] == 1
    )


def _taken_apart(phase: Interface, axes: Axes) -> tuple[Interface, frozenset[str]]:
    """Returns the phase with inputs taken apart, and those of which it needs the whole nevertheless."""
    consts = [(i.var, i.value) for i in phase.inputs if i.role == "const"]
    unstacker = _Unstacker(Emitter(consts), _stack_shapes(phase, axes))
    fresh = fresh_variables()
    inputs: list[TracedInput] = []
    for i in phase.inputs:
        if i.name in axes and i.role in ("cache", "param"):
            parts = i.elements(axes[i.name], fresh)
            unstacker.define(i, axes[i.name], parts)
            inputs += parts
        else:
            inputs.append(i)
    for eqn in phase.equations:
        unstacker.run(eqn)
    outputs: list[TracedOutput] = []
    for o in phase.outputs:
        if o.role == "cache" and o.name in axes:
            axis = axes[o.name]
            outputs += o.elements(axis, unstacker.elements(o, axis))
        else:
            outputs.append(TracedOutput(o.name, o.role, unstacker.atom(o.atom)))
    kept = drop_dead(unstacker.emit.equations, [o.atom for o in outputs])
    return Interface(tuple(inputs), tuple(kept), tuple(outputs)), frozenset(unstacker.needed_whole)


def _stack_shapes(phase: Interface, axes: Axes) -> frozenset[tuple[tuple[int, ...], int]]:
    caches = [i for i in phase.inputs if i.role == "cache" and i.name in axes]
    return frozenset((shape_of(i.var), axes[i.name]) for i in caches)


class _Unstacker:
    """Rewrites equations one after another.

    Args:
        emit: Takes the equations.
        stacks: Shape and axis of the caches that are taken apart: what is stacked up to one of these is one.
    """

    def __init__(self, emit: Emitter, stacks: frozenset[tuple[tuple[int, ...], int]]) -> None:
        self.emit = emit
        self.needed_whole: set[str] = set()
        self._stacks = stacks
        self._env: dict[Var, Value] = {}
        self._wholes: dict[Stacked, Atom] = {}

    def define(self, whole: TracedInput, axis: int, parts: Sequence[TracedInput]) -> None:
        """Lets the elements of an input stand for it."""
        self._env[whole.var] = Stacked(axis, tuple(p.var for p in parts), frozenset({whole.name}))

    def run(self, eqn: Eqn) -> None:
        """Adds what an equation becomes."""
        operands = [self._value(a) for a in eqn.invars]
        if any(isinstance(v, Stacked) for v in operands) or self._stacks_up(eqn):
            rule = RULES.get(eqn.primitive.name)
            result = rule(self.emit, eqn, operands) if rule else None
            if result is not None:
                results = result if isinstance(result, tuple) else (result,)
                self._env.update(zip(eqn.outvars, results, strict=True))
                return
        self.emit.add(eqn.replace(invars=[self.atom(a) for a in eqn.invars]))

    def atom(self, atom: Atom) -> Atom:
        """Returns an array as a whole."""
        value = self._value(atom)
        if not isinstance(value, Stacked):
            return value
        self.needed_whole |= value.sources
        if value not in self._wholes:
            self._wholes[value] = self.emit.whole(value)
        return self._wholes[value]

    def elements(self, output: TracedOutput, axis: int) -> list[Atom]:
        """Returns the elements of an output."""
        value = self._value(output.atom)
        if isinstance(value, Stacked) and value.axis == axis:
            return list(value.elements)
        self.needed_whole.add(output.name)
        whole = self.atom(output.atom)
        return [self.emit.element(whole, axis, n) for n in range(shape_of(whole)[axis])]

    def _value(self, atom: Atom) -> Value:
        return self._env.get(atom, atom) if isinstance(atom, Var) else atom

    def _stacks_up(self, eqn: Eqn) -> bool:
        """Tells an equation that stacks elements up to a cache that is taken apart."""
        axis = {"concatenate": "dimension", "stack": "axis"}.get(eqn.primitive.name)
        return axis is not None and (shape_of(eqn.outvars[0]), eqn.params[axis]) in self._stacks
