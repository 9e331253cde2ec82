"""Errors of the models package.

``ValueError``
    ``ConfigError``      a transformer configuration that cannot be built, or an unknown model name
    ``CheckpointError``  a checkpoint folder that cannot be read into a model
    ``EvaluationError``  a text or a context on which a model cannot be evaluated
"""


class ConfigError(ValueError):
    """A transformer configuration breaks a rule, or names no known model."""


class CheckpointError(ValueError):
    """A checkpoint folder is missing, damaged, or of a kind that is not supported."""


class EvaluationError(ValueError):
    """Says why a text or a context cannot be evaluated, and which could be."""
