"""Which kernel runs an operator: by default the operator's own analytic choice. With tuning on, the
candidates are timed once and the fastest is kept. A resumed training run reuses its recorded
choices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

TURNS = 7
SHORTEST = 3e-4  # seconds per measurement: shorter calls are repeated


class Candidate(NamedTuple):
    """A hand-written kernel and one of its tile shapes, by number; 0 leaves it to the launcher."""

    algorithm: str
    tile_shape: int = 0

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.tile_shape}" if self.tile_shape else self.algorithm

    @classmethod
    def parse(cls, text: str) -> Candidate:
        algorithm, _, variant = text.partition(":")
        return cls(algorithm, int(variant or 0))


Seconds = dict[str, float]  # of each candidate


class Choices:
    """Measured and recorded choices. A problem is a string of operator, direction, shapes, dtypes
    and precision; a place is a string of device, compiler and version.

    generation: grows whenever earlier choices may be out of date.
    """

    def __init__(self) -> None:
        self.tuning = False
        self.deterministic = False
        self.generation = 0
        self.folder: Path | None = None  # where measurements are kept; None: the user's cache
        self._measured: dict[str, dict[str, Seconds]] = {}  # by place and problem
        self._used: dict[str, dict[str, str]] = {}
        self._recorded: dict[str, dict[str, str]] = {}

    # ------------------------------------------------------------------ switches

    def set_tuning(self, enabled: bool, folder: Path | None) -> None:
        if enabled and self.deterministic:
            raise RuntimeError(
                "gpudl.tune: refused because use_deterministic_algorithms(True) is on and a "
                "measured choice may differ between runs; switch one of them off"
            )
        if folder != self.folder:
            self.folder = folder
            self._measured.clear()
        self.tuning = enabled
        self.generation += 1

    def set_deterministic(self, enabled: bool) -> None:
        if enabled and self.tuning:
            raise RuntimeError(
                "use_deterministic_algorithms: refused while tuning is on; gpudl.tune(False) first"
            )
        self.deterministic = enabled

    # ------------------------------------------------------------------ choosing

    def asked(self) -> bool:
        """Can anything but the operator's own choice run?"""
        return self.tuning or bool(self._recorded)

    def recorded(self, place: str, problem: str) -> Candidate | None:
        """The choice that the resumed run used."""
        text = self._recorded.get(place, {}).get(problem)
        return None if text is None else Candidate.parse(text)

    def fastest(
        self,
        place: str,
        problem: str,
        candidates: Sequence[Candidate],
        seconds_of: Callable[[Candidate], float],
    ) -> Candidate:
        """The fastest candidate; those without a measurement at this place are measured first."""
        known = self.measurements(place).setdefault(problem, {})
        new = [c for c in candidates if str(c) not in known]
        if new:
            known.update({str(c): float(f"{seconds_of(c):.4g}") for c in new})
            self._write(place)
        best = min(candidates, key=lambda c: known[str(c)])
        self.note(place, problem, best)
        return best

    def note(self, place: str, problem: str, candidate: Candidate) -> None:
        """Add to the record of this run."""
        self._used.setdefault(place, {})[problem] = str(candidate)

    # ------------------------------------------------------------------ storage

    def measurements(self, place: str) -> dict[str, Seconds]:
        """Seconds of each candidate, by problem, measured at this place."""
        if place not in self._measured:
            from gpudl.core.files import read_json

            try:
                stored = read_json(self.file(place))
                is_ours = stored["place"] == place and _are_seconds(stored["seconds"])
                self._measured[place] = stored["seconds"] if is_ours else {}
            except (OSError, ValueError, KeyError, TypeError):
                self._measured[place] = {}  # none yet, or a damaged file: measure again
        return self._measured[place]

    def file(self, place: str) -> Path:
        from gpudl.core.files import cache_folder

        name = "".join(c if c.isalnum() else "-" for c in place)
        return (self.folder or cache_folder() / "tune") / f"{name}.json"

    def _write(self, place: str) -> None:
        import json

        from gpudl.core.files import write_text

        path = self.file(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"place": place, "seconds": self._measured[place]}, indent=1)
        write_text(path, text + "\n")

    def state_dict(self) -> dict[str, dict[str, str]]:
        """The measured choices that this run used."""
        return {place: dict(used) for place, used in self._used.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, str]]) -> None:
        """Reuse the choices of the run that saved this state. Raises ValueError for another."""
        for used in state.values():
            for text in used.values():
                Candidate.parse(text)
        for place, used in state.items():
            self._recorded.setdefault(place, {}).update(used)
            self._used.setdefault(place, {}).update(used)
        self.generation += 1


def _are_seconds(stored: object) -> bool:
    """Whether a value from JSON holds seconds by problem and candidate."""
    return isinstance(stored, dict) and all(
        isinstance(known, dict) and all(type(value) in (int, float) for value in known.values())
        for known in stored.values()
    )


choices = Choices()


class _Restore(AbstractContextManager[None]):
    def __init__(self, enabled: bool, folder: Path | None) -> None:
        self.before = enabled, folder

    def __exit__(self, *_: object) -> None:
        choices.set_tuning(*self.before)


def tune(enabled: bool = True, folder: str | Path | None = None) -> AbstractContextManager[None]:
    """Time the kernels that can run an operator the first time it sees new shapes, and use the
    fastest: from now on, or inside a `with` statement.

    folder: where measurements are stored, by device, compiler and version; by default the user's
    cache. Choices differ between machines, and with them the last bits of sums. A training run
    records its choices and reuses them when it resumes.

    Raises RuntimeError after use_deterministic_algorithms(True).
    """
    from pathlib import Path

    restore = _Restore(choices.tuning, choices.folder)
    choices.set_tuning(enabled, None if folder is None else Path(folder))
    return restore


def use_deterministic_algorithms(mode: bool) -> None:
    """Refuse what could change the bits of a result between runs: `gpudl.tune`. The kernels are
    always deterministic."""
    choices.set_deterministic(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """See use_deterministic_algorithms."""
    return choices.deterministic


def median_seconds(call: Callable[[], object], wait: Callable[[], None]) -> float:
    """Median time of a call on an idle device. wait: returns when all submitted work is done."""
    _measure(call, wait, 1)  # warm-up: loads code, fills memory pools
    repeats = max(1, round(SHORTEST / max(_measure(call, wait, 1), 1e-9)))
    return sorted(_measure(call, wait, repeats) for _ in range(TURNS))[TURNS // 2]


def _measure(call: Callable[[], object], wait: Callable[[], None], repeats: int) -> float:
    wait()
    before = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - before) / repeats
