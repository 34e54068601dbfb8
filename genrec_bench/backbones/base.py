"""What torch backbones share: one network on one device, and its weights on disk.

A subclass says how its network is built from a few facts and how it is trained. Knows no architecture.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genrec_bench.core.files import usual_permissions
from genrec_bench.core.sequences import Sources
from genrec_bench.host.contracts import Backbone

WEIGHTS, FACTS = "weights.safetensors", "network.json"


class TorchBackbone(Backbone):
    """A backbone with one torch network.

    A subclass gives `build`, `facts`, and the contract's `template`, `fit`, `start` and `advance`. Its `fit` hands the
    untrained network to `place`.
    """

    network: nn.Module | None = None  # None until `fit` or `load`

    @abstractmethod
    def build(self, facts: Mapping[str, Any]) -> nn.Module:
        """A network with any weights, on the CPU, from what `facts` gives."""

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """What `build` needs to know, as JSON-able data; `save` writes it beside the weights."""

    def weights(self, network: nn.Module) -> Mapping[str, Tensor]:
        """What is saved of `network`, by name: all its parameters and buffers."""
        return network.state_dict()

    def tables(self) -> Iterable[Tensor]:
        """The parameters that are counted as embeddings: those of every `nn.Embedding`."""
        return [module.weight for module in self.net.modules() if isinstance(module, nn.Embedding)]

    @property
    def net(self) -> Any:
        """The network. RuntimeError before `fit` or `load`."""
        if self.network is None:
            raise RuntimeError("this backbone has no weights yet: fit or load it first")
        return self.network

    def place(self, network: nn.Module, device: str) -> None:
        """Take `network`, on `device` and ready to decode."""
        self.network, self.device = network.to(device).eval(), device

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.weights(self.net).items()}
        save_file(weights, folder / WEIGHTS)
        usual_permissions(folder / WEIGHTS)
        (folder / FACTS).write_text(json.dumps(self.facts(), indent=1) + "\n")

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote. ValueError if the weights belong to another network."""
        with forked(device):
            network = self.build(json.loads((folder / FACTS).read_text(encoding="utf-8")))

        saved, own = load_file(folder / WEIGHTS), self.weights(network)
        if {name: value.shape for name, value in saved.items()} != {name: value.shape for name, value in own.items()}:
            raise ValueError(f"the weights in {folder} belong to another network")
        with torch.no_grad():
            for name, value in saved.items():
                own[name].copy_(value)

        self.place(network, device)

    def parameters_count(self) -> Mapping[str, int]:
        tables = {id(table) for table in self.tables()}
        trained = [value for value in self.net.parameters() if value.requires_grad]
        embedding = sum(value.numel() for value in trained if id(value) in tables)
        return {"embedding": embedding, "other": sum(value.numel() for value in trained) - embedding}


class FixedShapes(Protocol):
    """What a backbone may offer beside its contract: `start` in two halves, for a search in shapes fixed beforehand.

    `start_padded` and `advance` then work on the device alone: they read no value back and take no shape from one, and
    equal shapes run the same operations. A GPU can capture such a search as one graph.
    """

    network: nn.Module | None  # owns the weights that both read: another object voids what was captured

    def pad(self, batch: Sources, users: int, length: int) -> tuple[Tensor, ...]:
        """The sources as CPU tensors, padded to `users` sources of `length` tokens; these two alone decide the shapes."""
        ...

    def start_padded(self, *padded: Tensor) -> Any:
        """The state that `advance` goes on from. `padded`: what `pad` gave, on the backbone's device."""
        ...


def forked(device: str) -> AbstractContextManager[None]:
    """A block with random numbers of its own: the caller's go on where they were."""
    return torch.random.fork_rng([torch.device(device)] if device.startswith("cuda") else [])
