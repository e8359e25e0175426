import gpudl
from gpudl.nn import functional as F


def test_group_norm_of_empty_images_is_empty_without_a_warning():
    x = gpudl.zeros(2, 4, 0, requires_grad=True)
    y = F.group_norm(x, 2)
    y.sum().backward()
    assert y.shape == x.grad.shape == (2, 4, 0)
