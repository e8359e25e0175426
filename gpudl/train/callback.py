"""The base of callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpudl.train.epochs import Row


class Callback:
    """Hooks called during training; a subclass overrides the ones it needs.

    trainer: the `Trainer`, whose attribute `stop_reason` a callback may set to make the current
    epoch the last one. `state_dict` returns any state to be checkpointed.
    """

    def on_fit_begin(self, trainer: Any, epochs: int) -> None: ...

    def on_epoch_begin(self, trainer: Any) -> None: ...

    def on_step_end(self, trainer: Any) -> None: ...

    def on_evaluation_step(self, trainer: Any) -> None: ...

    def on_epoch_end(self, trainer: Any, row: Row) -> None: ...

    def on_fit_end(self, trainer: Any) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
