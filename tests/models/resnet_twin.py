"""Residual nets for CIFAR-10 in PyTorch, in the forms published by common implementations."""


def cifar_twin(torch, depth, classes=10, projection=None, last="linear", plain=False):
    """The net of section 4.2. projection: the name of the 1x1 convolutions in the shortcuts (option
    B); None pads the new channels with zeros (option A). last: the name of the linear layer.
    plain: without shortcuts."""
    t, F = torch.nn, torch.nn.functional

    class Block(t.Module):
        def __init__(self, before, width, stride):
            super().__init__()
            self.conv1 = t.Conv2d(before, width, 3, stride, 1, bias=False)
            self.bn1 = t.BatchNorm2d(width)
            self.conv2 = t.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn2 = t.BatchNorm2d(width)
            self.stride, self.extra = stride, (width - before) // 2
            self.project = None
            if projection and before != width:
                layers = t.Conv2d(before, width, 1, stride, bias=False), t.BatchNorm2d(width)
                self.add_module(projection, t.Sequential(*layers))
                self.project = getattr(self, projection).forward

        def forward(self, x):
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            if plain:
                return F.relu(y)
            if self.project:
                return F.relu(y + self.project(x))
            s = self.stride
            return F.relu(y + F.pad(x[:, :, ::s, ::s], (0, 0, 0, 0, self.extra, self.extra)))

    class Net(t.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = t.Conv2d(3, 16, 3, 1, 1, bias=False), t.BatchNorm2d(16)
            for stage, (before, width) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
                blocks = [Block(before, width, 1 if stage == 1 else 2)]
                blocks += [Block(width, width, 1) for _ in range(depth // 6 - 1)]
                setattr(self, f"layer{stage}", t.Sequential(*blocks))
            self.add_module(last, t.Linear(64, classes))

        def forward(self, x):
            x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
            return getattr(self, last)(x.mean((2, 3)))

    return Net()
