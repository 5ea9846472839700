#!/usr/bin/python3
"""Trains the digit model of the demo: tools/digits/digits.onnx.

    sudo apt-get install python3-torch python3-onnx      (Debian 13)
    tools/build native octavo_digits
    tools/train_digits.py

The training data come from build/native/octavo_digits, which draws as many digits as one likes; no
data set is needed. It takes a quarter of an hour on one CPU core. The result is a small residual
network of plain and depthwise convolutions with 10 outputs and a symbolic batch:

    input  N x 1 x 28 x 28, float, ink 255 on 0      output  logits N x 10

--check IMAGES.npy LABELS.npy (or two idx files) also prints the accuracy on data from elsewhere.
"""
import argparse
import pathlib
import subprocess
import tempfile
import time

try:
    import numpy as np
    import torch
    from torch import nn
    from torch.nn.functional import relu
except ImportError:
    raise SystemExit("train_digits: install Debian 13's python3-torch and python3-onnx")

ROOT = pathlib.Path(__file__).resolve().parent.parent
GENERATOR = ROOT / "build/native/octavo_digits"


def draw(count, seed):
    """Images (N x 1 x 28 x 28 uint8) and labels from the generator."""
    with tempfile.TemporaryDirectory() as folder:
        images, labels = f"{folder}/images.npy", f"{folder}/labels.npy"
        subprocess.run(
            [GENERATOR, "--count", str(count), "--seed", str(seed)]
            + ["--out", images, "--labels", labels],
            check=True,
        )
        return torch.from_numpy(np.load(images))[:, None], torch.from_numpy(np.load(labels)).long()


def read_data(path):
    """An .npy file, or an idx file of bytes."""
    if path.endswith(".npy"):
        return np.load(path)
    raw = pathlib.Path(path).read_bytes()
    shape = np.frombuffer(raw, ">i4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


class Conv(nn.Module):
    """Convolution and batch norm, which the export folds into one."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1):
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))


def depthwise(channels, stride=1):
    return Conv(channels, channels, 3, stride, groups=channels)


def pointwise(inputs, outputs):
    return Conv(inputs, outputs, 1)


class Net(nn.Module):
    """28 x 28 -> 14 x 14 x 16 -> 14 x 14 x 32 -> 7 x 7 x 64 -> 10."""

    def __init__(self):
        super().__init__()
        self.stem = Conv(1, 16, 3, stride=2)
        self.widen = Conv(16, 32, 3)
        self.dw1, self.pw1 = depthwise(32), pointwise(32, 32)
        self.dw2, self.pw2 = depthwise(32), pointwise(32, 32)
        self.dw3, self.pw3 = depthwise(32, stride=2), pointwise(32, 64)
        self.dw4, self.pw4 = depthwise(64), pointwise(64, 64)
        self.dw5, self.pw5 = depthwise(64), pointwise(64, 64)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(64, 10)

    def forward(self, x):
        x = relu(self.stem(x))
        x = relu(self.widen(x))
        y = relu(self.pw1(relu(self.dw1(x))))
        x = relu(x + self.pw2(relu(self.dw2(y))))
        x = relu(self.pw3(relu(self.dw3(x))))
        y = relu(self.pw4(relu(self.dw4(x))))
        x = relu(x + self.pw5(relu(self.dw5(y))))
        return self.classify(self.pool(x).flatten(1))


def accuracy(net, images, labels):
    net.eval()
    with torch.no_grad():
        hits = sum(
            (net(x.float() / 255).argmax(1) == y).sum().item()
            for x, y in zip(images.split(500), labels.split(500))
        )
    return 100 * hits / len(labels)


def train(net, rounds, round_size, batch, learning_rate, check):
    optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=1e-3)
    steps = rounds * -(-round_size // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.05)
    started = time.time()
    for index in range(rounds):
        images, labels = draw(round_size, 1000 + index)  # never the same digit twice
        net.train()
        total = 0.0
        for x, y in zip(images.split(batch), labels.split(batch)):
            optimizer.zero_grad()
            loss = loss_fn(net(x.float() / 255), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(y)
        print(
            f"round {index + 1}/{rounds}  loss {total / round_size:.4f}  "
            f"{time.time() - started:.0f} s  {check()}",
            flush=True,
        )


def export(net, path):
    """Writes ONNX; its input is raw 0...255, so the first convolution takes over the division."""
    net.eval()
    with torch.no_grad():
        net.stem.conv.weight /= 255
    torch.onnx.export(
        net,
        torch.zeros(1, 1, 28, 28),
        str(path),
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
        opset_version=13,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--round-size", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--out", default=ROOT / "tools/digits/digits.onnx")
    parser.add_argument("--check", nargs=2, metavar=("IMAGES", "LABELS"))
    options = parser.parse_args()

    torch.manual_seed(1)
    torch.set_num_threads(1)
    net = Net()
    held_out = draw(10_000, 1)
    elsewhere = None
    if options.check:
        images, labels = (torch.from_numpy(read_data(path).copy()) for path in options.check)
        elsewhere = images.reshape(-1, 1, 28, 28), labels.long()

    def check():
        text = f"held out {accuracy(net, *held_out):.2f} %"
        return text + (f"  elsewhere {accuracy(net, *elsewhere):.2f} %" if elsewhere else "")

    print(f"{sum(p.numel() for p in net.parameters())} parameters")
    train(net, options.rounds, options.round_size, options.batch, options.learning_rate, check)
    export(net, options.out)


if __name__ == "__main__":
    main()
