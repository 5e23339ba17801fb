"""PyTorch: eager, as `fit` and `predict` run by default."""

import torch

from measuring.device_memory import Memory
from measuring.device_memory import host_memory
from measuring.models import mean_loss


def gpus():
    count = torch.cuda.device_count()
    return [torch.cuda.get_device_name(i) for i in range(count)]


def predict(model, inputs):
    def step():
        with torch.no_grad():
            model.predict_step((inputs,))
        _finish()

    return step


def train(model, inputs, labels):
    def step():
        model.train_step((inputs, labels))
        _finish()

    return step


def gradient(model, inputs, labels):
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]
    weights = [v.value for v in model.trainable_variables]

    def step():
        loss = mean_loss(labels, model(inputs, training=True))
        torch.autograd.grad(loss, [*weights, *inputs])
        _finish()

    return step


def _finish():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def memory():
    if not torch.cuda.is_available():
        return host_memory()
    return Memory(
        in_use=torch.cuda.memory_allocated,
        peak=torch.cuda.max_memory_allocated,
        reset_peak=torch.cuda.reset_peak_memory_stats,
    )
