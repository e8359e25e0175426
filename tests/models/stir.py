"""Weights that distinguish layers."""


def stir(net, seed=0):
    """Draws random weights and statistics for a PyTorch net: all filters, means and variances
    differ, and the signal neither vanishes nor explodes. Returns the net."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if not value.is_floating_point():
                continue
            draw = torch.randn(value.shape, generator=generator)
            if value.ndim > 1:
                value.copy_(draw * (2 / value[0].numel()) ** 0.5)
            elif name.endswith(("weight", "running_var")):
                value.copy_(0.7 + 0.3 * draw.abs())
            else:
                value.copy_(0.1 * draw)
    return net
