"""Optimizer updates of one parameter, compared with PyTorch's fused ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpudl.bench.workload import Call, Draw, Scale, Workload, given
from gpudl.ops.optimizer.adam import AdamOp
from gpudl.ops.optimizer.rules import AdagradOp, RmspropOp, SgdOp

# Parameters of LeNet-5, ResNet-18, ResNet-50.
SIZES = {"LeNet-5": 61_706, "ResNet-18": 11_689_512, "ResNet-50": 25_557_032}


def workloads(scale: Scale) -> Iterator[Workload]:
    for network, n in SIZES.items():
        state = Draw((n,), "positive")
        for name, op, hyper, states, make in (
            ("SGD", SgdOp.of(), (0, 0, 1e-3, 0.9, 1, 0), (state,), _sgd),
            ("Adam", AdamOp.of(), (0, 0, 1, 0.1, 0.999, 1e-3, 1e-3, 1, 1e-8), (state, state, None),
             _adam),
            ("RMSprop", RmspropOp.of(), (0, 0, 1e-3, 0.99, 0.01, 1e-8, 0), (state, None, None),
             _rmsprop),
            ("Adagrad", AdagradOp.of(), (0, 0, 1e-3, 1e-10), (state,), _adagrad),
        ):  # fmt: skip
            numbers = given(np.array([hyper], np.float32))
            yield Workload(
                f"{name} {network}",
                op,
                ((n,), (n,), numbers, None, None, *states),
                ("forward",),
                independent=0,
                peer=_stepper(make),
                quick=name in ("SGD", "Adam") and (scale.gpu or network != "ResNet-50"),
            )


def _stepper(make: Callable[[Any, Any], Any]) -> Callable[..., Call]:
    """PyTorch's step on one parameter with its current gradient."""

    def peer(torch: Any, param: Any, grad: Any, *_: Any) -> Call:
        parameter = torch.nn.Parameter(param)
        parameter.grad = grad.clone()
        step: Call = make(torch, parameter).step
        return step

    return peer


def _fused(parameter: Any) -> dict[str, bool]:
    """Fused on both devices; capturing a step in a CUDA graph is a separate option."""
    return {"fused": True, **({"capturable": True} if parameter.is_cuda else {})}


def _sgd(torch: Any, parameter: Any) -> Any:
    return torch.optim.SGD([parameter], lr=1e-3, momentum=0.9, fused=True)


def _adam(torch: Any, parameter: Any) -> Any:
    return torch.optim.Adam([parameter], lr=1e-3, **_fused(parameter))


def _rmsprop(torch: Any, parameter: Any) -> Any:
    """PyTorch has no fused RMSprop."""
    capturable = {"capturable": True} if parameter.is_cuda else {}
    return torch.optim.RMSprop([parameter], lr=1e-3, foreach=True, **capturable)


def _adagrad(torch: Any, parameter: Any) -> Any:
    if parameter.is_cuda:
        return torch.optim.Adagrad([parameter], lr=1e-3, foreach=True)
    return torch.optim.Adagrad([parameter], lr=1e-3, fused=True)
