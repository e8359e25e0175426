"""Training: the loop and its callbacks, checkpoints, metrics, pictures, runs.

>>> from gpudl.train import Trainer, EarlyStopping
>>> trainer = Trainer(net, optimizer, nn.CrossEntropyLoss(), train, test, [EarlyStopping(3)])
>>> trainer.fit(epochs=20)
"""

from gpudl.train.callback import Callback
from gpudl.train.callbacks import Checkpoint, CSVLogger, EarlyStopping, Schedule, StopRequest
from gpudl.train.checkpoint import load_state, load_weights, save_state, save_weights
from gpudl.train.config import Config, Training
from gpudl.train.epochs import Row
from gpudl.train.errors import DivergedError, StoppedError, TrainingError
from gpudl.train.history import History
from gpudl.train.job import Job
from gpudl.train.metrics import Evaluation, accuracy, confusion_matrix, evaluate
from gpudl.train.objective import Measured, Objective, Scores, Supervised
from gpudl.train.prepare import configure
from gpudl.train.progress import Progress
from gpudl.train.run import Run
from gpudl.train.trainer import Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "Config",
    "DivergedError",
    "EarlyStopping",
    "Evaluation",
    "History",
    "Job",
    "Measured",
    "Objective",
    "Progress",
    "Row",
    "Run",
    "Schedule",
    "Scores",
    "StopRequest",
    "StoppedError",
    "Supervised",
    "Trainer",
    "Training",
    "TrainingError",
    "accuracy",
    "configure",
    "confusion_matrix",
    "evaluate",
    "load_state",
    "load_weights",
    "save_state",
    "save_weights",
]
