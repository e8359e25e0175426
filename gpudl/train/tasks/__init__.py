"""The tasks that models are trained for. Each model is registered with the name of its task."""

from __future__ import annotations

from gpudl import models
from gpudl.train.tasks.base import Answer, Task
from gpudl.train.tasks.classification import Classification
from gpudl.train.tasks.language import Language
from gpudl.train.tasks.own import Own
from gpudl.train.tasks.reconstruction import Reconstruction
from gpudl.train.tasks.text_classification import TextClassification

__all__ = [
    "TASKS",
    "Answer",
    "Classification",
    "Language",
    "Own",
    "Reconstruction",
    "Task",
    "TextClassification",
    "task_of",
]

KINDS: tuple[type[Task], ...] = (
    Classification,
    TextClassification,
    Reconstruction,
    Language,
    Own,
)
TASKS: dict[str, Task] = {kind.name: kind() for kind in KINDS}


def task_of(info: models.Info) -> Task:
    """The task of a model. Raises ValueError for a model whose task is unknown."""
    if info.task not in TASKS:
        raise ValueError(
            f"{info.name}: is registered for the unknown task {info.task!r}; "
            f"expected one of {', '.join(TASKS)}"
        )
    return TASKS[info.task]
