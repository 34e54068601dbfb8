"""The optimiser is PyTorch's, bit by bit, without what `torch.optim` imports."""

import subprocess
import sys

import torch
from torch import nn

from genrec_bench.backbones.optimiser import AdamW
from genrec_bench.backbones.trainer import Loop, TrainingConfig
from genrec_bench.host.contracts import BackboneContext

STEPS, WARM = 12, 4


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4), nn.Linear(4, 1))


def loss_of(net, step):
    return (net(torch.randn(5, 6, generator=torch.Generator().manual_seed(step))) ** 2).sum() * 3


def factor(step):
    return min((step + 1) / WARM, max(0.0, (STEPS - step) / (STEPS - WARM)))


def test_weights_are_bit_by_bit_those_of_torchs_fused_adamw_with_clipping_and_schedule():
    theirs, ours = network(), network()
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    golden = torch.optim.AdamW(groups, lr=0.01, eps=1e-6, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(golden, factor)
    named = dict(ours.named_parameters())
    matrices = {name for name, value in named.items() if value.ndim > 1}
    mine = AdamW(named, matrices, learning_rate=0.01, weight_decay=0.1, steps=STEPS, warm=WARM)
    for step in range(STEPS):
        golden.zero_grad()
        loss_of(theirs, step).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        golden.step()
        schedule.step()
        loss_of(ours, step).backward()
        mine.step(1.0)
        for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
            assert torch.equal(a, b)


def test_what_got_no_gradient_stays_and_gradients_are_let_go():
    net = network()
    still = net[3].weight.detach().clone()
    optimiser = AdamW(dict(net.named_parameters()), (), learning_rate=0.1, weight_decay=0.0, steps=3, warm=1)
    net[:3](torch.ones(1, 6)).sum().backward()
    optimiser.step(1.0)
    assert torch.equal(net[3].weight, still)
    assert all(value.grad is None for value in net.parameters())


def test_tables_and_vectors_are_not_decayed():
    net = nn.ModuleList([nn.Embedding(3, 4), nn.Linear(4, 4)])
    loop = Loop(net, TrainingConfig(), BackboneContext(), steps=3)
    assert loop.optimiser.groups == ((0.01, ["1.weight"]), (0.0, ["0.weight", "1.bias"]))


def test_training_does_not_import_the_compiler():
    program = """
import sys, torch
from genrec_bench.backbones.trainer import Loop, TrainingConfig
from genrec_bench.api import BackboneContext
net = torch.nn.Linear(3, 1)
Loop(net, TrainingConfig(averaging=0.5), BackboneContext(), 5).step(net(torch.ones(1, 3)).sum())
print("torch._dynamo" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
