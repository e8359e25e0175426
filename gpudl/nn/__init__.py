"""Networks: modules, layers, losses, functions, initialisation, under PyTorch's names."""

from gpudl.nn import functional, init, utils
from gpudl.nn.activation import LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Softplus, Tanh
from gpudl.nn.container import ModuleDict, ModuleList, Sequential
from gpudl.nn.layers import AvgPool2d, Conv2d, Dropout, Flatten, Identity, Linear, MaxPool2d
from gpudl.nn.loss import CrossEntropyLoss, MSELoss
from gpudl.nn.module import Module, Parameter
from gpudl.nn.norm import BatchNorm1d, BatchNorm2d
from gpudl.nn.summary import Summary, summary

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Summary",
    "Tanh",
    "functional",
    "init",
    "summary",
    "utils",
]
