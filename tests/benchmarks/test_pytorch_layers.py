"""Networks of Keras's layers and of PyTorch's are the same ones."""

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("compares layers on PyTorch", allow_module_level=True)

import pytorch_layers
import torch


@pytest.mark.parametrize("name", ["WRN", "WARN"])
def test_both_are_the_same_network(name):
    networks = pytorch_layers.networks()
    both = networks[name], networks[f"PyTorch's {name}"]
    ours, theirs = (
        sum(x.numel() for x in pytorch_layers.trained(network))
        for network in both
    )
    assert ours == theirs
    for network in both:
        images = torch.randn(2, 3, 32, 32)
        images = pytorch_layers.images_for(network, images)
        assert network(images).sum(-1).tolist() == pytest.approx([1, 1])
        parameters = pytorch_layers.trained(network)
        optimizer = torch.optim.SGD(parameters)
        labels = torch.tensor([0, 1])
        pytorch_layers.training_step(network, optimizer, images, labels)
        assert all(x.grad is not None for x in parameters)
