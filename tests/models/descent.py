"""Trains a model for a few steps on its own loss."""

import numpy as np

import gpudl


def assert_loss_falls(net, x, steps):
    """Runs Adam on net.loss(x); all losses are finite, one is below the first. Returns them."""
    optimizer = gpudl.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = net.loss(x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert min(losses[1:]) < losses[0], losses
    return losses
