"""Which kernel runs an operator: the operator's own pick by analysis, unless tuning is on, which
measures the candidates once and keeps what it found; or a training run that goes on says what it
used before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

TURNS = 7
SHORTEST = 3e-4  # seconds that one measurement takes at least: shorter calls are repeated


class Candidate(NamedTuple):
    """A hand-written kernel; tile_shape: the number of one of its tile shapes, 0 for the one
    that its launcher picks."""

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
    """The state of the choice. A problem is a string that says operator, direction, shapes, dtypes
    and precision; a place one that says device, compiler and version.

    generation: changes whenever a choice made before may no longer hold.
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
                "gpudl.tune: refused, for use_deterministic_algorithms(True) is on and a measured "
                "choice may differ from run to run; switch one of them off"
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
        """May anything but the operator's own pick run?"""
        return self.tuning or bool(self._recorded)

    def recorded(self, place: str, problem: str) -> Candidate | None:
        """What the run that goes on has used."""
        found = self._recorded.get(place, {}).get(problem)
        return None if found is None else Candidate.parse(found)

    def fastest(
        self,
        place: str,
        problem: str,
        candidates: Sequence[Candidate],
        seconds_of: Callable[[Candidate], float],
    ) -> Candidate:
        """The one with the smallest time; those that were never measured here are."""
        known = self.measurements(place).setdefault(problem, {})
        new = [c for c in candidates if str(c) not in known]
        if new:
            known.update({str(c): float(f"{seconds_of(c):.4g}") for c in new})
            self._write(place)
        best = min(candidates, key=lambda c: known[str(c)])
        self.note(place, problem, best)
        return best

    def note(self, place: str, problem: str, candidate: Candidate) -> None:
        """Remember for the record of this run."""
        self._used.setdefault(place, {})[problem] = str(candidate)

    # ------------------------------------------------------------------ what lasts

    def measurements(self, place: str) -> dict[str, Seconds]:
        """Seconds of the candidates of each problem, as measured at this place."""
        if place not in self._measured:
            import json

            try:
                found = json.loads(self.file(place).read_text(encoding="utf-8"))
                self._measured[place] = found["seconds"] if found["place"] == place else {}
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
        """The measured choices that were used, for the record of a run."""
        return {place: dict(used) for place, used in self._used.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, str]]) -> None:
        """Choose as the run did that recorded this."""
        for place, used in state.items():
            self._recorded.setdefault(place, {}).update(used)
            self._used.setdefault(place, {}).update(used)
        self.generation += 1


choices = Choices()


class _Restore(AbstractContextManager[None]):
    def __init__(self, enabled: bool, folder: Path | None) -> None:
        self.before = enabled, folder

    def __exit__(self, *_: object) -> None:
        choices.set_tuning(*self.before)


def tune(enabled: bool = True, folder: str | Path | None = None) -> AbstractContextManager[None]:
    """From now on (or inside a `with` statement), measure the kernels that can run an operator when
    it first meets inputs of some shapes, and use the fastest.

    folder: where measurements are kept, by device, compiler and version; the user's cache by
    default. Measured choices differ from machine to machine, and with them the last bits of sums;
    a training run records its choices and goes on with them when it is resumed.

    Raises RuntimeError after use_deterministic_algorithms(True).
    """
    from pathlib import Path

    restore = _Restore(choices.tuning, choices.folder)
    choices.set_tuning(enabled, None if folder is None else Path(folder))
    return restore


def use_deterministic_algorithms(mode: bool) -> None:
    """Refuse what may change the bits of a result from run to run: `gpudl.tune`. The kernels
    themselves are deterministic always."""
    choices.set_deterministic(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """See use_deterministic_algorithms."""
    return choices.deterministic


def median_seconds(call: Callable[[], object], wait: Callable[[], None]) -> float:
    """Median time of a call on an idle device. wait: returns when all submitted work is done."""
    _measure(call, wait, 1)  # loads code, fills pools
    repeats = max(1, round(SHORTEST / max(_measure(call, wait, 1), 1e-9)))
    return sorted(_measure(call, wait, repeats) for _ in range(TURNS))[TURNS // 2]


def _measure(call: Callable[[], object], wait: Callable[[], None], repeats: int) -> float:
    wait()
    before = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - before) / repeats
