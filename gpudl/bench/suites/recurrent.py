"""Recurrent layers over whole sequences: LSTM, GRU and RNN."""

from __future__ import annotations

from collections.abc import Iterator

from gpudl.bench.workload import Scale, Workload


def workloads(scale: Scale) -> Iterator[Workload]:
    yield from ()
