"""What a small network's time on PyTorch is spent on: Keras's layers.

    KERAS_BACKEND=torch python benchmarks/pytorch_layers.py

WRN-28-2 and WARN-28-2, for 32x32 images and 10 classes, of Keras's layers on
PyTorch; and both of PyTorch's own modules, WARN as the paper writes it: a
convolution to label space, then masks. Networks take turns. Loss, automatic
differentiation and optimizer are the same, so that only layers differ. Ratios
are of process CPU time: the median over rounds, and quartiles, of the ratio
within a round.
"""

import itertools
import os
import time
from functools import partial

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch
from measuring import command
from measuring import tables
from measuring.environment import machine_and_versions
from measuring.timing import measure_time
from paper_networks import WideResNet
from torch import nn

import keras_warn
from keras_warn.cli.options import count

CLASSES, HEADS, KERNEL = 10, 4, 3
STEM, GROUPS = 16, (32, 64, 128)  # channels
BLOCKS = 4  # in each group


class Block(nn.Module):
    """A residual block that normalises and activates first."""

    def __init__(self, inputs, outputs, strides):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, strides, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, strides, bias=False)

    def forward(self, x):
        y = self.norm1(x).relu()
        if self.shortcut is not None:
            x = self.shortcut(y)
        return x + self.conv2(self.norm2(self.conv1(y)).relu())


class Attention(nn.Module):
    """An attention module, by equations 1 to 5 in their order."""

    def __init__(self, channels):
        super().__init__()

        def conv(outputs):
            return nn.Conv2d(
                channels, outputs, KERNEL, padding="same", bias=False
            )

        self.masks, self.gates = conv(HEADS), conv(HEADS)
        self.scores = conv(HEADS * CLASSES)

    def forward(self, x):
        masks = self.masks(x).flatten(2).softmax(-1)  # (b, k, p)
        scores = self.scores(x).view(len(x), HEADS, CLASSES, -1)
        hypotheses = torch.einsum("bknp,bkp->bkn", scores, masks)
        gates = (self.gates(x).flatten(2) * masks).sum(-1).tanh().softmax(-1)
        return torch.einsum("bkn,bk->bn", hypotheses, gates)


class Network(nn.Module):
    """WRN-28-2, or with `attended` WARN-28-2."""

    def __init__(self, attended):
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 3, 1, 1, bias=False)
        self.groups, self.attention = nn.ModuleList(), nn.ModuleList()
        channels = STEM
        for i, outputs in enumerate(GROUPS):
            first = Block(channels, outputs, 2 if i else 1)
            rest = (Block(outputs, outputs, 1) for _ in range(BLOCKS - 1))
            self.groups.append(nn.Sequential(first, *rest))
            if attended:
                self.attention.append(Attention(outputs))
            channels = outputs
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, CLASSES)
        if attended:
            self.gates = nn.Linear(channels, 1 + len(GROUPS), bias=False)

    def forward(self, x):
        x, maps = self.stem(x), []
        for group in self.groups:
            x = group(x)
            maps.append(x)
        pooled = self.norm(x).relu().mean((2, 3))
        logits = self.classifier(pooled)
        if self.attention:
            pairs = zip(self.attention, maps, strict=True)
            all_logits = torch.stack([logits, *(f(x) for f, x in pairs)], 1)
            gates = self.gates(pooled).tanh().softmax(-1)
            logits = torch.einsum("bmn,bm->bn", all_logits, gates)
        return logits.softmax(-1)


def networks():
    """The networks to compare, by name."""
    attended = keras_warn.augment(
        WideResNet(28, 2),
        preset="paper",
        depth=len(GROUPS),
        width=HEADS,
        kernel_size=KERNEL,
        diversity_weight=0,
    )
    return {
        "PyTorch's WRN": Network(attended=False),
        "WRN": WideResNet(28, 2),
        "PyTorch's WARN": Network(attended=True),
        "WARN": attended,
    }


def images_for(network, images):
    """Channels first, which is how PyTorch computes; last for Keras."""
    if isinstance(network, keras.Model):
        return images.permute(0, 2, 3, 1).contiguous()
    return images


def trained(network):
    return [x for x in network.parameters() if x.requires_grad]


def inference(network, images):
    network.eval()
    with torch.no_grad():
        network(images)


def training_step(network, optimizer, images, labels):
    network.train()
    optimizer.zero_grad()
    nn.functional.nll_loss(network(images).log(), labels).backward()
    optimizer.step()


def main(argv=None):
    parser = command.plain_parser(__doc__)
    parser.add_argument("--rounds", type=count(1), default=30)
    parser.add_argument("--batch-size", type=count(1), default=16)
    s = parser.parse_args(argv)

    keras.utils.set_random_seed(0)
    images = torch.randn(s.batch_size, 3, 32, 32)
    labels = torch.randint(CLASSES, (s.batch_size,))
    all_steps = {"inference": {}, "training step": {}}
    for name, network in networks().items():
        parameters = sum(x.numel() for x in trained(network))
        print(f"{name}: {parameters:,} parameters")
        given = images_for(network, images)
        optimizer = torch.optim.SGD(trained(network), 1e-4)
        all_steps["inference"][name] = partial(inference, network, given)
        all_steps["training step"][name] = partial(
            training_step, network, optimizer, given, labels
        )
    for title, steps in all_steps.items():
        times = measure_time(title, steps, s.rounds, time.process_time)
        for base, name in itertools.combinations(steps, 2):
            pair = f"{name} / {base}"
            ratio = tables.median(times, pair, "{:.2f}".format)
            print(f"{title}, {pair}: {ratio}")
    print(machine_and_versions())


if __name__ == "__main__":
    main()
