"""What models are trained for. The task of a model is named where it is registered."""

from __future__ import annotations

from gpudl import models
from gpudl.train.tasks.base import Task
from gpudl.train.tasks.classification import Classification
from gpudl.train.tasks.language import Language
from gpudl.train.tasks.own import Own
from gpudl.train.tasks.reconstruction import Reconstruction

__all__ = ["TASKS", "Classification", "Language", "Own", "Reconstruction", "Task", "task_of"]

TASKS: dict[str, Task] = {
    task.name: task for task in (Classification(), Reconstruction(), Language(), Own())
}


def task_of(info: models.Info) -> Task:
    """Raises ValueError for a model that is registered for a task that there is not."""
    if info.task not in TASKS:
        raise ValueError(
            f"{info.name}: is registered for the task {info.task!r}; there are {', '.join(TASKS)}"
        )
    return TASKS[info.task]
