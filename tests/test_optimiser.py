"""A training step is that of PyTorch's AdamW, with clipping, a schedule and weight decay on matrices alone."""

import math

import pytest
import torch
from torch import nn

from genrec_bench.backbones.trainer import Training, TrainingConfig
from genrec_bench.host.contracts import BackboneContext

STEPS, WARM = 12, 4


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4), nn.Linear(4, 1))


def loss_of(net, step):
    return (net(torch.randn(5, 6, generator=torch.Generator().manual_seed(step))) ** 2).sum() * 3


def factor(step):
    return min((step + 1) / WARM, max(0.0, (STEPS - step) / (STEPS - WARM)))


def test_weights_and_their_mean_are_bit_by_bit_those_of_torch():
    golden, ours = network(), network()
    groups = [
        {"params": [p for p in golden.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in golden.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=0.01, eps=1e-6, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    mean = [value.detach().clone() for value in golden.parameters()]
    config = TrainingConfig(learning_rate=0.01, weight_decay=0.1, warmup=WARM / STEPS, averaging=0.9)
    training = Training(ours, config, BackboneContext(), STEPS)

    for step in range(STEPS):
        optimiser.zero_grad()
        loss_of(golden, step).backward()
        nn.utils.clip_grad_norm_(golden.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        torch._foreach_lerp_(mean, [value.detach() for value in golden.parameters()], 1 - 0.9)

        training.step(loss_of(ours, step))
        for expected, value in zip(golden.parameters(), ours.parameters(), strict=True):
            assert torch.equal(expected, value)
    for expected, value in zip(mean, training.mean.values(), strict=True):
        assert torch.equal(expected, value)


def test_what_got_no_gradient_stays_and_gradients_are_let_go():
    net = network()
    still = net[3].weight.detach().clone()
    training = Training(net, TrainingConfig(weight_decay=0.5, learning_rate=0.1), BackboneContext(), steps=3)
    training.step(net[:3](torch.ones(1, 6)).sum())
    assert torch.equal(net[3].weight, still)
    assert all(value.grad is None for value in net.parameters())


def test_what_requires_no_gradient_is_neither_trained_nor_kept():
    net = network()
    net[0].requires_grad_(False)
    training = Training(net, TrainingConfig(), BackboneContext(), steps=3)
    assert training.parameters.keys() == {"2.weight", "2.bias", "3.weight", "3.bias"}


def test_embeddings_given_tables_and_vectors_are_not_decayed():
    net = nn.ModuleList([nn.Embedding(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)])
    training = Training(net, TrainingConfig(), BackboneContext(), steps=3, tables=[net[2].weight])
    decay = {id(value): group["weight_decay"] for group in training.optimiser.param_groups for value in group["params"]}
    assert {name: decay[id(value)] for name, value in net.named_parameters()} == {
        "0.weight": 0.0,
        "1.weight": 0.01,
        "1.bias": 0.0,
        "2.weight": 0.0,
        "2.bias": 0.0,
    }


def test_embeddings_are_decayed_where_they_are_asked_to():
    net = nn.ModuleList([nn.Embedding(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)])
    config = TrainingConfig(decay_embeddings=True, weight_decay=0.5)
    training = Training(net, config, BackboneContext(), steps=3, tables=[net[2].weight])
    decay = {id(value): group["weight_decay"] for group in training.optimiser.param_groups for value in group["params"]}
    assert {name: decay[id(value)] for name, value in net.named_parameters()} == {
        "0.weight": 0.5,
        "1.weight": 0.5,
        "1.bias": 0.0,
        "2.weight": 0.5,
        "2.bias": 0.0,
    }


def test_a_cosine_rises_and_falls_to_zero():
    config = TrainingConfig(learning_rate=2.0, warmup=WARM / STEPS, schedule="cosine")
    net = network()
    training = Training(net, config, BackboneContext(), STEPS)
    rates = []
    for step in range(STEPS):
        rates.append(training.rate)
        training.step(loss_of(net, step))

    falling = [1 + math.cos(math.pi * step / 8) for step in range(8)]  # 2.0 x (0.5 + 0.5 cos)
    assert rates == pytest.approx([0.5, 1.0, 1.5, 2.0, *falling]) and training.rate == 0
    assert rates[8] == pytest.approx(1.0)  # halfway


def test_the_rate_rises_and_falls_to_zero():
    net = network()
    training = Training(net, TrainingConfig(learning_rate=1.0, warmup=WARM / STEPS), BackboneContext(), STEPS)
    rates = []
    for step in range(STEPS):
        rates.append(training.rate)
        training.step(loss_of(net, step))
    assert rates == pytest.approx([factor(step) for step in range(STEPS)]) and training.rate == 0
