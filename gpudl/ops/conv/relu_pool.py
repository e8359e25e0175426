"""Convolution, ReLU and max pooling fused into one pass, for small networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Case, Cost, Spec, require
from gpudl.core.public import public
from gpudl.ops.conv import base, im2col
from gpudl.ops.conv.arguments import Number, Padding, each, windows
from gpudl.ops.conv.base import Size, Windowed
from gpudl.ops.conv.conv import Conv2dOp


class ConvReluMaxPool2dOp(Windowed):
    """y[n,k,i,j] = relu(max over u, v of conv[n,k,i*pool_h+u,j*pool_w+v] + bias[k]), where conv is
    the convolution of x with weight (Conv2dOp). The pooling windows (u, v) of extent `pool` do not
    overlap; incomplete ones are dropped.

    x: (N, C, H, W), weight: (K, C/groups, R, S), bias: (K) -> y: (N, K, P//pool_h, Q//pool_w), and
    argmax: the position u*pool_w + v of the maximum in its window.
    """

    axes = 2
    inputs = ("x", "weight", "bias?")
    outputs = ("y", "argmax")
    saves = ("x", "weight", "y", "argmax")
    kernels = ("direct",)

    stride: Size
    padding: Size
    dilation: Size
    groups: int
    extra: Size
    pool: Size

    @property
    def convolution(self) -> Conv2dOp:
        fields = self.stride, self.padding, self.dilation, self.groups, self.extra
        return Conv2dOp.of(*fields)  # type: ignore[no-any-return]

    def check_fields(self) -> None:
        super().check_fields()
        most = 255  # argmax is one byte
        fits = len(self.pool) == 2 and min(self.pool) > 0 and self.pool[0] * self.pool[1] <= most
        message = f"is {self.pool}; it must be two positive ints with a product of at most {most}"
        require(fits, self, "pool", message)

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "pool": self.pool}

    def infer(self, x: Spec, weight: Spec, bias: Spec | None = None) -> tuple[Spec, ...]:
        (z,) = self.convolution.infer(x, weight, bias)
        shape = (*z.shape[:2], z.shape[2] // self.pool[0], z.shape[3] // self.pool[1])
        require(
            min(shape[2:]) > 0,
            self,
            "pool",
            f"is {self.pool}, larger than the convolution's output {z.shape}",
        )
        return Spec(shape, x.dtype), Spec(shape, np.dtype(np.uint8))

    # ------------------------------------------------------------------ definition

    def forward(self, xp: Any, x: Any, weight: Any, bias: Any = None) -> tuple[Any, ...]:
        outputs = self.convolution.output_size(x.shape, weight.shape)
        z = base.correlate(xp, self, base.wide(x), base.wide(weight), outputs)
        return self._pooled(xp, z, bias, x.dtype)

    def _pooled(self, xp: Any, z: Array, bias: Any, dtype: Any) -> tuple[Any, ...]:
        windows = self._windows(z)
        y, argmax = windows[0].copy(), xp.zeros(windows[0].shape, np.uint8)
        for place, element in enumerate(windows[1:], 1):
            larger = (element > y) | (element != element)  # NaN wins, as in PyTorch
            argmax[larger] = place
            xp.copyto(y, element, where=larger)
        if bias is not None:
            y += bias[:, None, None]
        base.activate(xp, "relu", y)
        return y.astype(dtype, copy=False), argmax

    def _windows(self, z: Array) -> list[Array]:
        """Views of the convolution's output: element (u, v) of every window."""
        h, w = self.pool
        p, q = z.shape[2] // h * h, z.shape[3] // w * w
        return [z[:, :, u:p:h, v:q:w] for u in range(h) for v in range(w)]

    def _spread(self, xp: Any, dy: Any, saved: Any) -> Array:
        """The gradient of the convolution's output."""
        outputs = self.convolution.output_size(saved.x.shape, saved.weight.shape)
        dz = xp.zeros((*dy.shape[:2], *outputs), base.wide(dy).dtype)
        passed = xp.where(saved.y <= 0, 0, dy)
        for place, element in enumerate(self._windows(dz)):
            element[...] = xp.where(saved.argmax == place, passed, 0)
        return dz

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        plain = Conv2dOp.saved_type(saved.x, saved.weight, None, saved.specs)
        dz = self._spread(xp, dys[0], saved)
        return self.convolution.backward(xp, (dz,), plain, (*needs, False))[:3]

    def save(self, inputs: Any, outputs: Any, specs: Any, needs: Any = None) -> Any:
        return self.saved_type(*inputs[:2], *outputs, specs)

    # ------------------------------------------------------------------ faster NumPy form

    def forward_im2col(self, xp: Any, x: Any, weight: Any, bias: Any = None) -> tuple[Any, ...]:
        """Bias and ReLU come after pooling, when fewer elements remain."""
        image, filters = base.volume(base.wide(x)), base.volume(base.wide(weight))
        outputs = self.geometry.outputs(image.shape[2:], filters.shape[2:])
        z = im2col.forward(self.geometry, image, filters, None, outputs)
        return self._pooled(np, base.flat(z, 2), bias, x.dtype)

    def backward_im2col(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        plain = Conv2dOp.saved_type(saved.x, saved.weight, None, saved.specs)
        dz = self._spread(xp, dys[0], saved)
        return self.convolution.backward_im2col(xp, (dz,), plain, (*needs, False))[:3]

    # ------------------------------------------------------------------ kernels

    def image_and_output(self, *specs: Any) -> tuple[Spec, Spec]:
        return self.convolution.image_and_output(*specs, None)

    # ------------------------------------------------------------------ for tests and benchmarks

    def cost(self, *specs: Any) -> Cost:
        convolution = self.convolution.cost(*specs, None)
        present = [s for s in (*specs, *self.infer(*specs)) if s is not None]
        moved = sum(s.size * s.dtype.itemsize for s in present)
        return Cost(convolution.flops, moved, convolution.multiply_adds)

    def twin(self, torch: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        z = torch.relu(self.convolution.twin(torch, x, weight, bias))
        return torch.nn.functional.max_pool2d(z, self.pool)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        from gpudl.ops.conv.cases import Example

        two = ((2, 2),)
        examples = {
            "LeNet, first layer": Example((2, 1, 12, 13), (6, 1, 5, 5), padding=(2, 2), more=two),
            "LeNet, second layer": Example((1, 6, 9, 8), (16, 6, 5, 5), more=two, bias=False),
            "ragged": Example(
                (2, 4, 13, 11), (6, 2, 3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2),
                groups=2, more=((3, 2),),
            ),
            "one channel each": Example((1, 5, 6, 7), (5, 1, 3, 3), groups=5, more=((1, 3),)),
            "empty batch": Example((0, 3, 6, 6), (4, 3, 3, 3), more=two),
        }  # fmt: skip
        for name, example in examples.items():
            yield Case(name, example.op(cls), example.make(example.weight[0]))
        # Sums of neighbours: 3, -3, -5, -1, -4, -7. Maximum of each pair plus 0.5, then ReLU.
        x = np.array([[1, 2, -5, 0, -1, -3, -4]], np.float32)[None, None]
        pairs = np.ones((1, 1, 1, 2), np.float32)
        y = np.array([[3.5, 0, 0]], np.float32)[None, None]
        op = Example((), (), more=((1, 2),)).op(cls)
        inputs = x, pairs, np.full(1, 0.5, np.float32)
        argmax = np.array([[0, 1, 0]], np.uint8)[None, None]
        yield Case("golden", op, lambda rng: inputs, golden=(y, argmax))
        large = Example((1, 1, 4, 4), (1, 1, 3, 3), more=((3, 1),))
        yield Case(
            "pool too large", large.op(cls), large.make(1), error=r"pool is \(3, 1\), larger"
        )


@public("functional")
def conv_relu_max_pool2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Padding = 0,
    dilation: Number = 1,
    groups: int = 1,
    *,
    pool: Number = 2,
) -> Tensor:
    """max_pool2d(relu(conv2d(input, weight, bias, …)), pool) in one pass over memory.

    input: (N, C, H, W), weight: (K, C/groups, R, S), bias: (K) -> (N, K, P//pool, Q//pool) with
    conv2d's P and Q. Faster in small networks, where launches and memory traffic dominate.
    """
    name = "conv_relu_max_pool2d"
    fields = windows(name, 2, weight, stride, padding, dilation, groups)
    op = ConvReluMaxPool2dOp.of(*fields, each(name, "pool", pool, 2))
    return apply(op, input, weight, bias)[0]  # type: ignore[no-any-return]
