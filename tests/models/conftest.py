"""PyTorch's models, as references."""

import sys

import pytest

import gpudl


@pytest.fixture(autouse=True)
def _same_weights_in_any_order():
    """Models draw from the default generator, which earlier tests have advanced."""
    gpudl.manual_seed(0)


@pytest.fixture(scope="session")
def torchvision():
    """torchvision, whose models need none of its compiled operators.

    These load only with one build of PyTorch; with another, importing torchvision fails because
    they are not registered, so they are declared here.
    """
    torch = pytest.importorskip("torch")
    try:
        import torchvision
    except ImportError:
        pytest.skip("torchvision is not installed")
    except RuntimeError:
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

        torchvision.declared = library  # it forgets its operators when it is deleted
    return torchvision
