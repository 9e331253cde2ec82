"""The learning rate over a training run."""

import math

from models.training.settings import TrainSettings


def learning_rate(settings: TrainSettings, step: int, num_steps: int) -> float:
    """Returns the learning rate of a step: linear rise, then half a cosine.

    Args:
        settings: Gives the peak, the length of the rise and the end.
        step: From 0.
        num_steps: Steps of the whole run.
    """
    if step < settings.warmup_steps:
        return settings.peak_lr * (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, num_steps - settings.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return settings.peak_lr * (settings.final_lr_ratio + (1 - settings.final_lr_ratio) * cosine)
