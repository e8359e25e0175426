"""A user's program for test_types: mypy in strict mode finds no error, and reveals the type that
stands in the comment behind each reveal_type."""
# ruff: noqa: F821 (reveal_type is known to type checkers only)

from collections.abc import Iterator
from typing import Any

import numpy as np

import gpudl
import gpudl.nn.functional as F
from gpudl import Tensor, models, nn, optim
from gpudl.data import ArrayDataset, Loader, load
from gpudl.optim import lr_scheduler
from gpudl.train import Trainer


class Net(nn.Module):
    """Returns a Tensor."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x)
        reveal_type(hidden)  # Tensor
        return self.head(hidden)


class Pair(nn.Module):
    """Returns something other than a Tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(gpudl.ones(3))
        self.net = Net(3)

    def forward(self, x: Tensor, scale: float = 1.0) -> tuple[Tensor, list[int]]:
        return self.net(x) * self.scale * scale, [1]


net = Net(10)
reveal_type(net(gpudl.randn(2, 784)))  # Tensor
pair = Pair()
reveal_type(pair(gpudl.randn(2, 784), scale=2.0))  # tuple[Tensor, list[int]]
net([[1.0, 2.0]])  # type: ignore[arg-type]
pair(gpudl.randn(2, 784), scales=2.0)  # type: ignore[call-arg]
lenet = models.lenet5(num_classes=10)
reveal_type(lenet)  # LeNet5
reveal_type(lenet(gpudl.randn(1, 1, 28, 28)))  # Tensor
reveal_type(models.create("lenet5")(gpudl.randn(1, 1, 28, 28)))  # Tensor
sequential = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4))
reveal_type(sequential(gpudl.randn(1, 1, 28, 28)))  # Tensor
reveal_type(sequential[0])  # Module
reveal_type(sequential[1:])  # Sequential
reveal_type(sequential[0](gpudl.randn(1, 1, 28, 28)))  # Tensor
for layer in sequential:
    reveal_type(layer)  # Module
reveal_type(nn.MaxPool2d(2)(gpudl.randn(1, 1, 28, 28)))  # Tensor
reveal_type(nn.CrossEntropyLoss()(gpudl.randn(2, 3), gpudl.tensor([0, 1])))  # Tensor
output, (h, c) = nn.LSTM(8, 4)(gpudl.randn(5, 2, 8))
reveal_type(output)  # Tensor
reveal_type(c)  # Tensor
reveal_type(nn.GRU(8, 4)(gpudl.randn(5, 2, 8)))  # tuple[Tensor, Tensor]
packed = nn.utils.rnn.pack_padded_sequence(gpudl.randn(5, 2, 8), [5, 3])
reveal_type(nn.RNN(8, 4)(packed)[0])  # PackedSequence
cell = nn.LSTMCell(8, 4)
reveal_type(cell(gpudl.randn(2, 8), cell(gpudl.randn(2, 8))))  # tuple[Tensor, Tensor]
reveal_type(nn.GRUCell(8, 4)(gpudl.randn(2, 8)))  # Tensor
reveal_type(net.train())  # Net
reveal_type(net.to("cpu"))  # Net
reveal_type(net.head.weight)  # Parameter
reveal_type(net.parameters())  # Iterator[Parameter]

codes, sequence = gpudl.tensor([[1, 2], [3, 0]]), gpudl.randn(5, 2, 8)
reveal_type(nn.Embedding(4, 8)(codes))  # Tensor
reveal_type(nn.LSTM(8, 16)(sequence))  # tuple[Tensor, tuple[Tensor, Tensor]]
reveal_type(nn.GRU(8, 16)(sequence))  # tuple[Tensor, Tensor]
packed, _ = nn.RNN(8, 16)(nn.utils.rnn.pack_padded_sequence(sequence, [5, 3]))
reveal_type(packed)  # PackedSequence
reveal_type(nn.utils.rnn.pad_packed_sequence(packed))  # tuple[Tensor, Tensor]
reveal_type(nn.LSTMCell(8, 16)(sequence[0]))  # tuple[Tensor, Tensor]
reveal_type(nn.GRUCell(8, 16)(sequence[0]))  # Tensor

x = gpudl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
reveal_type(x.max(1).values)  # Tensor
reveal_type(x.max(dim=1).indices)  # Tensor
reveal_type(x.max())  # Tensor
reveal_type(x.max(x))  # Tensor
reveal_type(gpudl.max(x, 1).indices)  # Tensor
reveal_type(gpudl.min(x))  # Tensor
reveal_type(x.sort().values)  # Tensor
reveal_type(gpudl.topk(x, 1).indices)  # Tensor
_, indices = x.min(dim=-1)
reveal_type(indices)  # Tensor
reveal_type(x.nonzero())  # Tensor
reveal_type(gpudl.where(x > 0, x, 0.0))  # Tensor
reveal_type(x[0])  # Tensor
reveal_type(x[:, None, 0])  # Tensor
reveal_type(x[x > 1])  # Tensor
x.detach()[0] = 1.0
reveal_type(x + 1)  # Tensor
reveal_type(2 / x)  # Tensor
reveal_type(1 - x * x @ x**2)  # Tensor
reveal_type(-x)  # Tensor
reveal_type(x == 1)  # Tensor
reveal_type(x.argmax(1) == x.argmin(1))  # Tensor
reveal_type(x < x)  # Tensor
reveal_type(x.sum())  # Tensor
reveal_type(x.shape)  # tuple[int, ...]
reveal_type(x.size())  # tuple[int, ...]
reveal_type(x.size(0))  # int
reveal_type(x.dtype)  # dtype[Any]
reveal_type(x.grad)  # Tensor | None
reveal_type(x.detach().numpy())  # ndarray[Any, Any]
reveal_type(F.relu(x))  # Tensor
image = gpudl.randn(1, 1, 4, 4)
reveal_type(F.max_pool2d(image, 2))  # Tensor
reveal_type(F.max_pool2d(image, 2, return_indices=True))  # tuple[Tensor, Tensor]
for row in x:
    reveal_type(row)  # Tensor
reveal_type(gpudl.from_numpy(np.zeros(3, np.float32)))  # Tensor

loss = F.cross_entropy(net(gpudl.randn(2, 784)), gpudl.tensor([0, 1]), label_smoothing=0.1)
reveal_type(loss)  # Tensor
loss.backward()
reveal_type(float(loss))  # float
nn.utils.clip_grad_norm_(net.parameters(), 1.0)

sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
reveal_type(sgd)  # SGD
adam = optim.AdamW([{"params": net.head.parameters(), "lr": 1e-3}])
sgd.zero_grad()
sgd.step()
reveal_type(adam.step(lambda: loss))  # Tensor
schedule = lr_scheduler.StepLR(sgd, step_size=10)
schedule.step()
reveal_type(schedule.get_last_lr())  # list[float]
reveal_type(sgd.state_dict())  # dict[str, Any]

with gpudl.no_grad():
    prediction = net(x)
reveal_type(prediction)  # Tensor


@gpudl.no_grad()
def predict(batch: Tensor, top: int = 1) -> Tensor:
    return net(batch).topk(top).indices


reveal_type(predict(x))  # Tensor

train, test = load("digits")
loader = Loader(train, batch_size=64, shuffle=True)
for images, labels in loader:
    reveal_type(images)  # Tensor
    reveal_type(labels)  # Tensor
    net(images).sum().backward()
for batch in Loader(ArrayDataset(np.zeros(3), np.zeros(3)), device=None):
    reveal_type(batch[0])  # ndarray[Any, Any]


class Texts:
    """A data set of dictionaries."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"text": "a", "code": index}


named: Loader[dict[str, Any]] = Loader(Texts())
for example in named:
    reveal_type(example)  # dict[str, Any]

state = net.state_dict()
reveal_type(state)  # dict[str, Tensor]
gpudl.save(state, "weights.safetensors")
reveal_type(gpudl.load("weights.safetensors"))  # dict[str, Tensor]
reveal_type(net.load_state_dict(gpudl.load("weights.safetensors")).missing_keys)  # list[str]

trainer = Trainer(net, sgd, nn.CrossEntropyLoss(), loader, Loader(test, 64))
trainer.fit(epochs=1)
reveal_type(trainer.history)  # History
reveal_type(trainer.history[-1].loss)  # float
reveal_type(trainer.history[-1].test_accuracy)  # float


def batches() -> Iterator[Tensor]:
    for images, _ in loader:
        yield images
