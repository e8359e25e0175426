"""Launchers, called as a device calls them, refuse bad arguments with an error that names them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gpudl.devices import modules

MISSING = modules.why_missing("emulator")
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.fixture(scope="module")
def module():
    return modules.load("emulator")


def image(*shape, dtype=np.float32):
    """A logical (N, C, H, W) array, channels last."""
    n, c, h, w = shape
    return np.zeros((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def arguments(launcher, **named):
    """Named arguments in the positional order of the schema."""
    return [named[p.name] for p in modules.launchers("emulator")[launcher].parameters]


class TestSoftmax:
    """The simplest launcher: contiguous rows."""

    name = "softmax_forward_rows"

    def call(self, module, x, y):
        module.softmax_forward_rows(*arguments(self.name, x=x, y=y))

    def test_accepts_valid_arguments(self, module):
        y = np.full((2, 3), np.nan, np.float32)
        self.call(module, np.zeros((2, 3), np.float32), y)
        np.testing.assert_allclose(y, 1 / 3, rtol=1e-6)

    def test_dtype(self, module):
        with pytest.raises(ValueError, match=r"softmax_forward_rows: x: must be float32"):
            self.call(module, np.zeros((2, 3)), np.zeros((2, 3), np.float32))

    def test_memory_order(self, module):
        x = np.zeros((3, 2), np.float32).T
        with pytest.raises(ValueError, match=r"x: must be dense in row-major order"):
            self.call(module, x, np.zeros((2, 3), np.float32))

    def test_an_output_that_overlaps_an_input(self, module):
        memory = np.zeros(9, np.float32)
        x, y = memory[:6].reshape(2, 3), memory[3:].reshape(2, 3)
        with pytest.raises(ValueError, match=r"y: is written by the kernel, but shares .* with x"):
            self.call(module, x, y)

    def test_neighbours_do_not_overlap(self, module):
        memory = np.zeros(12, np.float32)
        self.call(module, memory[:6].reshape(2, 3), memory[6:].reshape(2, 3))
        np.testing.assert_allclose(memory, [0] * 6 + [1 / 3] * 6, rtol=1e-6)

    def test_an_output_that_cannot_be_written(self, module):
        y = np.zeros((2, 3), np.float32)
        y.flags.writeable = False
        with pytest.raises(ValueError, match=r"y: is written by the kernel, .* read-only"):
            self.call(module, np.zeros((2, 3), np.float32), y)

    def test_an_array_on_a_gpu(self, module):
        array = SimpleNamespace(
            __cuda_array_interface__={},
            data=SimpleNamespace(ptr=4096),
            device=SimpleNamespace(id=1),
            dtype=np.dtype(np.float32),
            itemsize=4,
            shape=(2, 3),
            strides=(12, 4),
        )
        with pytest.raises(ValueError, match=r"x: lies in GPU 1, but the kernel reads host memory"):
            self.call(module, array, np.zeros((2, 3), np.float32))

    def test_a_number_instead_of_an_array(self, module):
        with pytest.raises(ValueError, match="x: must be an array"):
            self.call(module, 3, np.zeros((2, 3), np.float32))

    def test_too_few_arguments(self, module):
        with pytest.raises(ValueError, match=r"expected .* arguments, got 1"):
            module.softmax_forward_rows(np.zeros((2, 3), np.float32))


class TestConv2d:
    """Channels-last arrays, a workspace, fields of several integers."""

    name = "conv2d_forward_direct"

    def call(self, module, **changes):
        defaults = {
            "x": image(1, 2, 4, 4),
            "weight": image(3, 2, 3, 3),
            "bias": None,
            "residual": None,
            "y": image(1, 3, 2, 2),
            "workspace": np.zeros(64, np.float32),
            "stride": (1, 1, 1),
            "padding": (0, 0, 0),
            "dilation": (1, 1, 1),
            "groups": 1,
            "activation": 0,
        }
        getattr(module, self.name)(*arguments(self.name, **{**defaults, **changes}))

    def test_accepts_valid_arguments(self, module):
        y = image(1, 3, 2, 2)
        y.fill(np.nan)
        self.call(module, y=y)
        np.testing.assert_array_equal(y, 0)

    def test_rank(self, module):
        with pytest.raises(ValueError, match=r"x: must have .* axes, got float32 of shape \(4\)"):
            self.call(module, x=np.zeros(4, np.float32))

    def test_inconsistent_sizes(self, module):
        with pytest.raises(ValueError, match=r"weight: .* does not fit 4 channels in 1 groups"):
            self.call(module, x=image(1, 4, 4, 4))
        with pytest.raises(ValueError, match="y: does not have the images of x"):
            self.call(module, y=image(2, 3, 2, 2))

    def test_layout(self, module):
        with pytest.raises(ValueError, match="x: must be dense in nhwc order"):
            self.call(module, x=np.zeros((1, 2, 4, 4), np.float32))

    def test_a_field_of_another_length(self, module):
        with pytest.raises(ValueError, match="stride: must be a triple of integers"):
            self.call(module, stride=(1, 1))

    def test_a_field_that_does_not_fit(self, module):
        with pytest.raises(ValueError, match=r"padding: .* does not fit a 32-bit integer"):
            self.call(module, padding=(0, 2**31, 0))

    def test_more_elements_than_32_bits_can_count(self, module):
        """The memory is never touched, so the system never allocates it."""
        with pytest.raises(ValueError, match=r"x: has 2147500000 elements.*split the batch"):
            self.call(module, x=image(2, 53687500, 4, 5))


class TestRegistry:
    """The declarations of launchers."""

    def test_a_launcher_with_a_workspace_declares_its_size(self):
        for launcher in modules.launchers("emulator").values():
            takes = "workspace" in {p.name for p in launcher.parameters}
            assert takes == (launcher.workspace is not None), launcher.name

    def test_names_agree_with_what_is_computed(self):
        short = {"bfloat16": "bf16", "float16": "f16"}
        for launcher in modules.launchers("emulator").values():
            numbers, unit, products, _ = launcher.computes
            if unit == "simt":
                assert "mma" not in launcher.algorithm, launcher.name
            else:
                factor = f"x{products}" if products > 1 else ""
                expected = f"{unit}_{short.get(numbers, numbers)}{factor}"
                assert launcher.algorithm.removeprefix("implicit_").startswith(expected)

    def test_a_workspace_is_computed_from_shapes_and_fields(self):
        launcher = modules.launchers("emulator")["group_norm_backward_nhwc"]
        known = {"x": image(2, 12, 4, 4), "num_groups": 3}
        arguments = [known.get(p.name) for p in launcher.parameters]
        assert launcher.workspace(*arguments) == 2 * 2 * (3 + 12)  # one part of each sample

    def test_a_workspace_rejects_wrong_arguments(self):
        launcher = modules.launchers("emulator")["group_norm_backward_nhwc"]
        arguments = [{"num_groups": 3}.get(p.name) for p in launcher.parameters]
        with pytest.raises(ValueError, match="group_norm_backward_nhwc: x: must be an array"):
            launcher.workspace(*arguments)
