"""The training loop: batches, steps, epochs, and a state from which it goes on bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gpudl import random
from gpudl.choice import choices
from gpudl.train.callbacks import Callback
from gpudl.train.errors import DivergedError
from gpudl.train.metrics import Evaluation, evaluate

READ_EVERY = 20  # steps on a GPU between reads of the loss: each read waits for the GPU


@dataclass
class Totals:
    """Sums over the batches of the epoch so far. seconds: of training, without the evaluation."""

    loss: float = 0.0
    correct: int = 0
    images: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Row:
    """One epoch of a history. Losses are means over all images, rates and seconds of training
    alone."""

    epoch: int
    step: int
    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float
    lr: float
    images_per_second: float
    seconds: float


class Trainer:
    """Trains a model on batches (images, labels) and judges it after each epoch.

    model: a Module that gives logits (N, classes). optimizer: of gpudl.optim. loss: called as
    loss(logits, labels). train: a `gpudl.data.Loader` whose batches are Tensors on the model's
    device; test: another one, or None. callbacks: see `gpudl.train.Callback`; called in their
    order.

    >>> trainer = Trainer(net, SGD(net.parameters(), lr=0.1), nn.CrossEntropyLoss(), train, test)
    >>> trainer.fit(epochs=5)
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        loss: Callable[[Any, Any], Any],
        train: Any,
        test: Any = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.train, self.test, self.callbacks = train, test, list(callbacks)
        self.epoch = 0  # epochs that are finished
        self.step = 0  # optimizer steps that are done
        self.totals = Totals()
        self.history: list[Row] = []
        self.evaluation: Evaluation | None = None  # of the latest epoch
        self.stop_reason: str | None = None  # a callback sets it: the epoch is the last
        self._unread: list[tuple[Any, Any, int]] = []
        device = next(model.parameters()).device
        self._read_every = READ_EVERY if device.name.startswith("cuda") else 1

    # ---------------------------------------------------------------- the loop

    def fit(self, epochs: int) -> list[Row]:
        """Train until `epochs` epochs are finished, those before a resumption included.

        Raises DivergedError where the loss is no longer a finite number. What a callback raises
        goes through; the state is that of the last whole step, and the loader's place is behind its
        batch.
        """
        if self.step == 0:
            self.train.set_epoch(self.epoch)
        self._call("on_fit_begin", epochs)
        while self.epoch < epochs and self.stop_reason is None:
            self._call("on_epoch_begin")
            if self.train.epoch == self.epoch:  # else the batches of the epoch are done already
                self._train_epoch()
            self._finish_epoch()
        self._call("on_fit_end")
        return self.history

    def _train_epoch(self) -> None:
        self.model.train()
        before = time.perf_counter()
        for images, labels in self.train:
            self._train_step(images, labels)
            now = time.perf_counter()
            self.totals.seconds += now - before
            self._call("on_step_end")
            before = time.perf_counter()
        self.read()

    def _train_step(self, images: Any, labels: Any) -> None:
        self.optimizer.zero_grad()
        logits = self.model(images)
        loss = self.loss(logits, labels)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        correct = (logits.data.argmax(axis=1) == labels.data).sum()
        self._unread.append((loss.detach(), correct, len(labels)))
        if len(self._unread) >= self._read_every:
            self.read()

    def _finish_epoch(self) -> None:
        seen, totals = max(self.totals.images, 1), self.totals
        lr = self.learning_rate
        self.evaluation = self._evaluate() if self.test is not None else None
        self.epoch += 1
        row = Row(
            epoch=self.epoch,
            step=self.step,
            loss=totals.loss / seen,
            accuracy=totals.correct / seen,
            test_loss=self.evaluation.loss if self.evaluation else math.nan,
            test_accuracy=self.evaluation.accuracy if self.evaluation else math.nan,
            lr=lr,
            images_per_second=seen / totals.seconds if totals.seconds else math.nan,
            seconds=totals.seconds,
        )
        self.history.append(row)
        self.totals = Totals()
        self._call("on_epoch_end", row)

    def _evaluate(self) -> Evaluation:
        self.test.set_epoch(0)
        return evaluate(self.model, self.loss, self.test, lambda: self._call("on_evaluation_step"))

    def read(self) -> None:
        """Bring the losses and counts of the latest steps from the device into `totals`."""
        unread, self._unread = self._unread, []
        first = self.step - len(unread) + 1
        for step, (loss, correct, images) in enumerate(unread, first):
            value = float(loss.item())
            if not math.isfinite(value):
                raise DivergedError(
                    f"the loss is {value} in epoch {self.epoch + 1}, step {step}; "
                    "try a smaller learning rate (--lr)"
                )
            self.totals.loss += value * images
            self.totals.correct += int(correct)
            self.totals.images += images

    def check_finite(self) -> None:
        """Raises DivergedError where a weight or a running statistic is NaN or infinite."""
        for name, tensor in self.model.state_dict().items():
            values = tensor.data
            if values.dtype.kind == "f" and not bool((abs(values) < np.inf).all()):
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
        """All that decides how training goes on, for `save_state`. The arrays are not copies."""
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
        """Go on where `state_dict` was taken. Model, data and callbacks must be those of that
        time."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.train.load_state_dict(state["loader"])
        random.set_rng_state(state["random"])
        choices.load_state_dict(state.get("choices", {}))
        for callback, kept in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(kept)
        self.epoch, self.step = state["epoch"], state["step"]
        self.totals = Totals(**state["totals"])
        self.history = [Row(**row) for row in state["history"]]
        self.stop_reason = state["stop_reason"]
        self._unread = []
