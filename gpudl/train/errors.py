"""Training errors. Each message is one sentence and includes the fix."""

from __future__ import annotations


class TrainingError(Exception):
    """Something about a run or its settings is wrong; the message says how to fix it."""


class DivergedError(TrainingError):
    """The loss or the weights are no longer finite numbers."""


class StoppedError(TrainingError):
    """Training was asked to stop; it can be resumed from the last checkpoint."""
