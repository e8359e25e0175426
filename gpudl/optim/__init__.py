"""Optimizers and learning rate schedules."""

from gpudl.optim import lr_scheduler
from gpudl.optim.adadelta import Adadelta
from gpudl.optim.adagrad import Adagrad
from gpudl.optim.adam import Adam, AdamW
from gpudl.optim.adam_kin import Adamax, NAdam, RAdam
from gpudl.optim.asgd import ASGD
from gpudl.optim.optimizer import Optimizer
from gpudl.optim.rmsprop import RMSprop
from gpudl.optim.rprop import Rprop
from gpudl.optim.sgd import SGD

__all__ = [
    "ASGD",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
]
