"""Models that train with more than one loss and optimizer, such as GANs and Boltzmann machines.

Such a model has `make_stepper(make_optimizer)`, which returns an object with `optimizers`, a
dictionary, and `step(images, labels)`, which trains on a batch and returns scalars by name, "loss"
among them. If the model has `classify(images)`, which returns logits (N, classes), it is evaluated
and used as a classifier; otherwise it may have `judge(images, labels)`, which returns such scalars
for a batch of the test part. Register any other state to be checkpointed as a buffer of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from gpudl import models
from gpudl.data import Split
from gpudl.ops.loss.cross_entropy import cross_entropy
from gpudl.train import build
from gpudl.train.config import Config, Training
from gpudl.train.errors import TrainingError
from gpudl.train.metrics import Evaluation, class_logits, evaluate
from gpudl.train.objective import Batch, Between, Measured, Objective, Scores, nothing
from gpudl.train.tasks.base import Answer, Finished
from gpudl.train.tasks.classification import (
    check_classes,
    draw_confusion,
    draw_mistakes,
    same_classes,
)
from gpudl.train.tasks.reconstruction import Images, named, require_method


class StepperOptimizers:
    """The optimizers of a stepper, with the interface and state of one optimizer."""

    def __init__(self, stepper: Any) -> None:
        self.stepper = stepper
        self.parts: dict[str, Any] = dict(stepper.optimizers)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return list(chain.from_iterable(part.param_groups for part in self.parts.values()))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.parts.values())

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


class OwnSteps(Objective):
    """The stepper trains, the model evaluates."""

    def train_step(self, model: Any, optimizer: Any, batch: Batch) -> Measured:
        return named(optimizer.stepper.step(*batch), len(batch[0]))

    def measure(self, model: Any, batch: Batch) -> Measured:
        return named(model.judge(*batch), len(batch[0]))

    def evaluate(
        self, model: Any, batches: Iterable[Batch], between: Between = nothing
    ) -> Scores | Evaluation:
        if not hasattr(model, "classify"):
            return super().evaluate(model, batches, between)
        return evaluate(model, cross_entropy, batches, between, model.classify)


class Own(Images):
    """The model defines its own training; its learning rate is constant by default."""

    name = "own"
    defaults = {"augment": "none", "schedule": "constant"}

    def check(self, info: models.Info, model: Any, config: Config) -> None:
        training = config.training
        require_method(info, model, "make_stepper", "make_stepper(make_optimizer)")
        if self.answer(model):
            check_classes(self, info, model, config)
        if training.clip is not None:
            raise TrainingError(f"--clip: {info.name} defines its own steps; leave it out")
        needs = {"--patience": training.patience, "--schedule": training.schedule == "plateau"}
        for option, given in needs.items():
            if given and not self.judges(model):
                raise TrainingError(
                    f"{option}: needs a test loss, which {info.name} does not have; leave it out"
                )

    def optimizer(self, model: Any, training: Training) -> Any:
        def make_optimizer(parameters: Any, **changes: Any) -> Any:
            return build.make_optimizer(parameters, training, **changes)

        return StepperOptimizers(model.make_stepper(make_optimizer))

    def objective(self, training: Training) -> Objective:
        return OwnSteps()

    def judges(self, model: Any) -> bool:
        return hasattr(model, "classify") or hasattr(model, "judge")

    def answer(self, model: Any) -> Answer | None:
        return Answer.CLASSES_OF_IMAGES if hasattr(model, "classify") else None

    def classify(self, model: Any, inputs: Any) -> Any:
        return class_logits(model.classify(inputs))

    def fitted(self, config: Config, split: Split, name: str) -> Split:
        return same_classes(config, super().fitted(config, split, name), name)

    def draw(self, done: Finished) -> list[str]:
        """The model's samples and pictures, and its mistakes if it is a classifier."""
        is_classifier = isinstance(done.result, Evaluation)
        mistakes = [draw_confusion(done), draw_mistakes(done)] if is_classifier else []
        return super().draw(done) + mistakes
