"""The training loop: batches, steps, epochs, and a state from which it resumes bit for bit."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from gpudl.core import random
from gpudl.core.choice import choices
from gpudl.nn.module import Module
from gpudl.optim.optimizer import Optimizer
from gpudl.train.batches import loader
from gpudl.train.callback import Callback
from gpudl.train.config import from_table
from gpudl.train.epochs import Row
from gpudl.train.errors import DivergedError
from gpudl.train.history import History
from gpudl.train.metrics import Evaluation
from gpudl.train.objective import Measured, Objective, Scores, Supervised
from gpudl.train.progress import Progress

READ_EVERY = 20  # steps on a GPU between reads of the loss: each read waits for the GPU


@dataclass
class Totals:
    """Sums over the batches of the current epoch. correct: None if there is no accuracy.
    images: the number of images, or of whatever the objective counts. seconds: training time
    without evaluation. lr: the learning rate of the latest step."""

    loss: float = 0.0
    correct: int | None = None
    images: int = 0
    seconds: float = 0.0
    lr: float | None = None
    others: dict[str, float] = field(default_factory=dict)


def not_finite(state: Mapping[Any, Any]) -> str | None:
    """The name of the first tensor or array in a nested state that holds NaN or infinity."""
    for name, value in state.items():
        if isinstance(value, Mapping):
            if inner := not_finite(value):
                return f"{name}.{inner}"
            continue
        values = getattr(value, "array", value)
        is_float = hasattr(values, "dtype") and values.dtype.kind == "f"
        if is_float and not bool((abs(values) < np.inf).all()):
            return str(name)
    return None


class Trainer:
    """Trains a model on batches and evaluates it after each epoch.

    model: a Module. optimizer: of gpudl.optim. loss: called as loss(logits, labels) if batches are
    (images, labels) and the model returns logits (N, classes); otherwise an `Objective`.
    train: a data set, (inputs, targets) as arrays, or a `gpudl.data.Loader` whose batches are
    Tensors on the model's device. From a data set, batches of `batch_size` are drawn in a new order
    each epoch; uint8 images are scaled to [0, 1], and normalized if the data set has a mean and a
    standard deviation. test: likewise, in the given order, or None.
    callbacks: see `gpudl.train.Callback`; called in order. progress: whether to show a table with a
    line per epoch and, in a terminal, a progress bar.

    >>> trainer = Trainer(net, SGD(net.parameters(), lr=0.1), nn.CrossEntropyLoss(), train, test)
    >>> history = trainer.fit(epochs=5)
    >>> history.plot("curves.png")
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Callable[[Any, Any], Any] | Objective,
        train: Any,
        test: Any = None,
        callbacks: Sequence[Callback] = (),
        *,
        batch_size: int = 64,
        progress: bool = True,
    ) -> None:
        for name, value in (("model", model), ("optimizer", optimizer), ("loss", loss)):
            if isinstance(value, type):
                raise TypeError(
                    f"Trainer: {name} is a class; pass an object, as in {value.__name__}(...)"
                )
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if trained.isdisjoint(map(id, model.parameters())):
            raise ValueError(
                "Trainer: optimizer has none of the model's parameters; make it with "
                "model.parameters()"
            )
        self.model, self.optimizer = model, optimizer
        self.objective = loss if isinstance(loss, Objective) else Supervised(loss)
        self.train = loader(train, model, batch_size, shuffle=True)
        if test is train:
            test = copy.copy(test)  # a loader has only one position
        self.test = None if test is None else loader(test, model, batch_size)
        shown = any(isinstance(callback, Progress) for callback in callbacks)
        self.callbacks = [*callbacks, *([Progress()] if progress and not shown else [])]
        self.epoch = 0  # epochs completed
        self.step = 0  # optimizer steps completed
        self.totals = Totals()
        self.history = History()
        self.evaluation: Evaluation | Scores | None = None  # of the latest epoch
        self.stop_reason: str | None = None  # set by a callback to make the epoch the last
        self._unread: list[Measured] = []
        device = next(model.parameters()).device
        self._read_every = READ_EVERY if device.name.startswith("cuda") else 1

    # ---------------------------------------------------------------- the loop

    def fit(self, epochs: int) -> History:
        """Train until `epochs` epochs are complete, including those before a resumption.

        Raises DivergedError if the loss is no longer a finite number. Exceptions raised by
        callbacks propagate; the state is then that of the last complete step, and the loader's
        position is after its batch.
        """
        if self.step == 0:
            self.train.set_epoch(self.epoch)
        self._call("on_fit_begin", epochs)
        while self.epoch < epochs and self.stop_reason is None:
            self._call("on_epoch_begin")
            if self.train.epoch == self.epoch:  # otherwise its batches are already done
                self._train_epoch()
            self._finish_epoch()
        self._call("on_fit_end")
        return self.history

    def _train_epoch(self) -> None:
        self.model.train()
        before = time.perf_counter()
        for batch in self.train:
            self._train_step(batch)
            now = time.perf_counter()
            self.totals.seconds += now - before
            self._call("on_step_end")
            before = time.perf_counter()
        self.read()

    def _train_step(self, batch: tuple[Any, ...]) -> None:
        self.totals.lr = self.learning_rate  # a schedule sets the next step's after this one
        measured = self.objective.train_step(self.model, self.optimizer, batch)
        self.step += 1
        others = {name: value.detach() for name, value in measured.others.items()}
        self._unread.append(measured._replace(loss=measured.loss.detach(), others=others))
        if len(self._unread) >= self._read_every:
            self.read()

    def _finish_epoch(self) -> None:
        seen, totals = max(self.totals.images, 1), self.totals
        self.evaluation = tested = self._evaluate() if self.test is not None else None
        self.epoch += 1
        others = {name: value / seen for name, value in totals.others.items()}
        if isinstance(tested, Scores):
            others |= {f"test_{name}": value for name, value in tested.others.items()}
        row = Row(
            epoch=self.epoch,
            step=self.step,
            loss=totals.loss / seen,
            accuracy=math.nan if totals.correct is None else totals.correct / seen,
            test_loss=tested.loss if tested else math.nan,
            test_accuracy=tested.accuracy if isinstance(tested, Evaluation) else math.nan,
            lr=self.learning_rate if totals.lr is None else totals.lr,
            images_per_second=seen / totals.seconds if totals.seconds else math.nan,
            seconds=totals.seconds,
            others=others,
        )
        self.history.append(row)
        self.totals = Totals()
        self._call("on_epoch_end", row)

    def _evaluate(self) -> Evaluation | Scores:
        assert self.test is not None
        self.test.set_epoch(0)
        training = random.get_rng_state()

        def between() -> None:
            with random.rng_state(training):  # the state that a checkpoint saved here must hold
                self._call("on_evaluation_step")

        return self.objective.evaluate(self.model, self.test, between)

    def read(self) -> None:
        """Read the losses and counts of the latest steps from the device and add them to
        `totals`."""
        unread, self._unread = self._unread, []
        first = self.step - len(unread) + 1
        for step, (loss, images, correct, others) in enumerate(unread, first):
            value = float(loss.item())
            if not math.isfinite(value):
                fix = "try a smaller learning rate (--lr)"
                if step == 1:  # nothing has been learned yet
                    fix = "look for NaN and infinity in the inputs, the targets and the weights"
                raise DivergedError(
                    f"the loss is {value} in epoch {self.epoch + 1}, step {step}; {fix}"
                )
            self.totals.loss += value * images
            if correct is not None:
                self.totals.correct = (self.totals.correct or 0) + int(correct)
            self.totals.images += images
            for name, other in others.items():
                self.totals.others[name] = (
                    self.totals.others.get(name, 0.0) + float(other.item()) * images
                )

    def check_finite(self) -> None:
        """Raises DivergedError if a weight, a running statistic or a value of the optimizer's state
        is NaN or infinite."""
        state = {**self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if name := not_finite(state):
            raise DivergedError(
                f"{name} holds values that are not finite after step {self.step}; "
                "try a smaller learning rate (--lr)"
            )

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self, *arguments)

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Everything that affects how training continues, for `save_state`. Arrays are not
        copied."""
        self.read()
        return {
            "epoch": self.epoch,
            "step": self.step,
            "totals": asdict(self.totals),
            "history": [asdict(row) for row in self.history],
            "stop_reason": self.stop_reason,
            "loader": self.train.state_dict(),
            "random": random.get_rng_state(),
            "choices": choices.state_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "callbacks": [callback.state_dict() for callback in self.callbacks],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from where `state_dict` was taken, with the same model, data and callbacks."""
        counts = state["epoch"], state["step"]
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError(f"epoch and step are {counts}; they must be whole numbers from 0 up")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.train.load_state_dict(state["loader"])
        random.set_rng_state(state["random"])
        choices.load_state_dict(state.get("choices", {}))
        for callback, saved in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(saved)
        self.epoch, self.step = state["epoch"], state["step"]
        self.totals = from_table(Totals, state["totals"])
        self.history = History(from_table(Row, row) for row in state["history"])
        self.stop_reason = state["stop_reason"]
        self._unread = []
