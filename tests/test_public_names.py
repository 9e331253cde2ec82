"""The public names: what users may import and call, and what other work relies on."""

import importlib
import inspect

import pytest

PUBLIC = {
    "partitioner": {"Plan", "PlacementError", "SparF", "Workload", "partition"},
    "partitioner.frontend": {"from_step"},
    "cost_models": {"HardwareSpec"},
    "models": {"Transformer", "TransformerConfig", "abstract", "load_pretrained"},
    "runtime": {"Session", "SimulatedRun", "bench", "simulate"},
}

MEMBERS = {
    ("cost_models", "HardwareSpec"): {"load", "with_drives", "slowed", "preset_names", "replace"},
    ("models", "TransformerConfig"): {"named"},
    ("models", "Transformer"): {"__call__", "init_cache"},
    ("partitioner", "Workload"): {"batch_size", "decode_len", "prompt_len", "sparsity"},
    ("partitioner", "SparF"): {"ratio"},
    ("partitioner", "Plan"): {
        "account_excess",
        "bound",
        "decode_seconds",
        "device_of",
        "diff",
        "dollars_per_million_tokens",
        "endurance",
        "explain",
        "gap",
        "joules_per_token",
        "load",
        "ops",
        "prefill_seconds",
        "report",
        "save",
        "schedule_excess",
        "to_dict",
        "tokens_per_second",
    },
    ("runtime", "SimulatedRun"): {
        "busy_s",
        "decode_s",
        "prefill_s",
        "timeline",
        "to_dict",
        "tokens_per_second",
    },
    ("runtime", "Session"): {"__enter__", "__exit__", "generate"},
}

SIGNATURES = {
    ("partitioner", "partition"): ["model", "hw_spec", "workload", "policy"],
    ("partitioner.frontend", "from_step"): ["step", "params", "init_cache"],
    ("runtime", "simulate"): ["plan"],
    ("runtime", "bench"): ["plans", "model", "prompts", "max_new_tokens", "repeats", "clock"],
}


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_exported(package: str) -> None:
    module = importlib.import_module(package)
    assert PUBLIC[package] <= set(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize(("package", "owner"), MEMBERS)
def test_the_public_members_are_there(package: str, owner: str) -> None:
    cls = getattr(importlib.import_module(package), owner)
    fields = set(getattr(cls, "__dataclass_fields__", ()))
    assert {name for name in MEMBERS[package, owner] if not hasattr(cls, name)} <= fields


@pytest.mark.parametrize(("package", "function"), SIGNATURES)
def test_the_public_arguments_have_their_names(package: str, function: str) -> None:
    parameters = inspect.signature(getattr(importlib.import_module(package), function)).parameters
    assert [name for name in parameters if name in SIGNATURES[package, function]] == SIGNATURES[
        package, function
    ]


@pytest.mark.parametrize(
    ("package", "error"),
    [
        ("cost_models", "HardwareError"),
        ("models", "CheckpointError"),
        ("models", "ConfigError"),
        ("partitioner", "PlacementError"),
    ],
)
def test_what_users_may_get_wrong_is_a_value_error(package: str, error: str) -> None:
    assert issubclass(getattr(importlib.import_module(package), error), ValueError)
