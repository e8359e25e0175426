"""Modules, layers, losses, functions and initialisation, under PyTorch's names."""

from gpudl.nn import functional as functional
from gpudl.nn import init as init
from gpudl.nn import utils as utils
from gpudl.nn.activation import *
from gpudl.nn.container import *
from gpudl.nn.conv import *
from gpudl.nn.dropout import *
from gpudl.nn.embedding import *
from gpudl.nn.group_norm import *
from gpudl.nn.layer_norm import *
from gpudl.nn.layers import *
from gpudl.nn.local_response_norm import *
from gpudl.nn.locally_connected import *
from gpudl.nn.loss import *
from gpudl.nn.model_summary import *
from gpudl.nn.module import *
from gpudl.nn.norm import *
from gpudl.nn.padding import *
from gpudl.nn.pooling import *
from gpudl.nn.rbm import *
from gpudl.nn.recurrent import *
from gpudl.nn.recurrent_cell import *
from gpudl.nn.softmax import *
from gpudl.nn.upsampling import *
