"""Optimizers and schedules of learning rates."""

from gpudl.optim import lr_scheduler
from gpudl.optim.adagrad import Adagrad
from gpudl.optim.adam import Adam, AdamW
from gpudl.optim.optimizer import Optimizer
from gpudl.optim.rmsprop import RMSprop
from gpudl.optim.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
