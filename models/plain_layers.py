"""What passes that take layers apart rely on."""

from models.config import TransformerConfig
from models.errors import ConfigError


def require_plain_layers(config: TransformerConfig, purpose: str) -> None:
    """Requires layers that normalise before they compute, and attend to all tokens before.

    Args:
        config: The model.
        purpose: What is wanted with it, such as ``trained``.

    Raises:
        ConfigError: If the model normalises after its layers, or attends within a window.
    """
    if config.norm_position != "pre" or config.window is not None:
        raise ConfigError(
            f"{config.name} has {config.norm_position}-norm layers and window {config.window}; only pre-norm models "
            f"without a window can be {purpose}"
        )
