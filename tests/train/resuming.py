"""Runs training jobs to the end; stops and resumes them."""

import numpy as np
import pytest

from gpudl.train import Job, StoppedError, load_weights


def finish(job):
    with job:
        job.train()
        job.finish()
    return job


def stopped_and_resumed(job, step):
    """Stops the job after `step` steps, then resumes and finishes its run. Returns the new job."""
    job.progress.on_step_end = lambda trainer: (
        job.stop_request.request("test") if trainer.step == step else None
    )
    with job, pytest.raises(StoppedError):
        job.train()
    return finish(Job.resume(job.run))


def assert_same_weights(one, other):
    """Asserts that two runs ended with the same bits."""
    first, second = load_weights(one.weights), load_weights(other.weights)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
