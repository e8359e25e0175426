"""Trainings to their end, and trainings that are stopped and go on."""

import numpy as np
import pytest

from gpudl.train import Job, StoppedError, load_weights


def finish(job):
    with job:
        job.train()
        job.finish(pictures=False)
    return job


def stopped_and_resumed(job, step):
    """The job of a run that was stopped after so many steps, at its end."""
    job.progress.on_step_end = lambda trainer: (
        job.stop_request.request("test") if trainer.step == step else None
    )
    with job, pytest.raises(StoppedError):
        job.train()
    return finish(Job.resume(job.run))


def same_weights(one, other):
    """That two runs ended with the same bits."""
    first, second = load_weights(one.weights), load_weights(other.weights)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
