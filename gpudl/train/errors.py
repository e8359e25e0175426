"""What can go wrong in training, as errors whose message is one sentence with a fix."""

from __future__ import annotations


class TrainingError(Exception):
    """Something about a run or its training is not as it must be; the message says how to put it
    right."""


class DivergedError(TrainingError):
    """The loss or the weights are no longer finite numbers."""


class StoppedError(TrainingError):
    """Training was asked to stop; the last checkpoint is where it goes on."""
