"""RPG (Hou et al. 2025, arXiv 2506.05781): the digits of the next item's code, predicted independently and at once.

Made for long codes without order, such as those of the indexer `opq`; it works with any index whose codes have a common
first level. All positions of a user are trained in one pass. `advance` and `logits` answer as every backbone does: what
they give at a level does not depend on the tokens before it, so every decoder ranks as `rpg-exact` does.

No epoch is chosen unless `validate_every` says so: the protocol validates by `trie`, which drops items by their first digits,
and no digit of such a code comes first.

Departures from the paper: exact ranking in place of its graph-constrained decoding; codes that collide keep their suffix,
spread evenly; a window of a long history is trained in one pass, too, where the released code slides it item by item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from typing import Any, Self

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from genrec_bench.api import (
    BackboneContext,
    Examples,
    FitReport,
    IdTemplate,
    Index,
    Int64,
    Ragged,
    Share,
    Sources,
    TargetTrees,
    Task,
    Template,
    TorchBackbone,
    TrainingConfig,
    fit,
    forked,
    latest_targets,
    longest_word,
    pad_words,
    visible_words,
)
from genrec_parallel.levels import Levels, leading_on, step
from genrec_parallel.network import Network, Shape

FAR = -1e4  # the logit of a token that its level does not have: finite, and its probability is zero


@dataclass(frozen=True)
class RPGConfig(TrainingConfig):
    """Sizes and training of RPG."""

    layers: PositiveInt = 2  # layers of the transformer
    d_model: PositiveInt = 128  # width of the embeddings and of every layer
    heads: PositiveInt = 4  # attention heads per layer
    d_ff: PositiveInt = 256  # feed-forward width
    dropout: Share = 0.3  # probability of dropout
    history: PositiveInt = 50  # items shown in the sequential task
    validate_every: PositiveInt = 1000  # epochs between validations; beyond `epochs`: the last epoch's weights are kept
    temperature: PositiveFloat = 0.07  # what the cosine of a head's state and a token is divided by

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.d_model % self.heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of heads {self.heads}")
        return self


@plain_dataclass(frozen=True)
class State:
    """The log-probabilities (U, P) of all digits, how many tokens the hypotheses have, and where they stand in the
    catalogue's tree: `node` (U, N), None where no code is longer than its digits."""

    logp: Tensor
    length: int
    node: Tensor | None


class RPG(TorchBackbone):
    """Parallel heads over the digits of long codes, causal transformer over items (RPG, Hou et al. 2025, arXiv 2506.05781)."""

    Config = RPGConfig
    contract = 1
    trains_on = "sequences"
    network: Network | None = None
    search_space: Mapping[str, Any] = {
        "learning_rate": (1e-3, 1e-2, "log"),
        "temperature": [0.03, 0.05, 0.07],
        "dropout": [0.1, 0.3, 0.5],
    }
    profiles: Mapping[str, Mapping[str, Any]] = {
        # sizes, temperature and learning rate of the released code's commands; epochs and batches are ours
        "paper": {
            "d_model": 448,
            "d_ff": 1024,
            "dropout": 0.5,
            "temperature": 0.03,
            "epochs": 100,
            "batch_size": 256,
            "learning_rate": 3e-3,
        },
        "quick": {"epochs": 30, "batch_size": 128, "learning_rate": 3e-3},
        "tiny": {"d_model": 32, "heads": 2, "d_ff": 64, "dropout": 0.1, "epochs": 10, "batch_size": 32},
    }

    def template(self, task: Task, index: Index) -> Template:
        return IdTemplate(task, index, self.config.history)

    def fit(self, examples: Examples, ctx: BackboneContext) -> FitReport:
        self.begin(examples, ctx.seed, ctx.device)
        if self.config.latest_targets:
            examples = latest_targets(examples, self.config.latest_targets)
        loss_of = Targets(self.net, examples, self.places, ctx.device).loss
        return fit(self.net, examples, self.config, ctx, loss_of, d_model=self.config.d_model)

    def begin(self, examples: Examples, seed: int = 0, device: str = "cpu") -> None:
        """The network as it is before the first step."""
        c, levels = self.config, Levels.of(examples.catalogue.codes, examples.n_tokens)
        shape = Shape(
            n_tokens=examples.n_tokens,
            level_sizes=levels.sizes,
            edges=len(levels.edges),
            d_model=c.d_model,
            layers=c.layers,
            heads=c.heads,
            d_ff=c.d_ff,
            positions=c.history,
            dropout=c.dropout,
            temperature=c.temperature,
        )

        with forked(device):
            torch.manual_seed(seed)
            network = Network(shape)
        network.level_tokens.copy_(torch.from_numpy(levels.tokens))
        network.edges.copy_(torch.from_numpy(levels.edges))
        self.place(network, device)

    def build(self, facts: Mapping[str, Any]) -> Network:
        return Network(Shape(**facts))

    def facts(self) -> Mapping[str, Any]:
        return asdict(self.net.shape)

    @property
    def digits(self) -> int:
        """Levels that are predicted."""
        return len(self.net.shape.level_sizes)

    @property
    def places(self) -> Tensor:
        """The place (digits, n_tokens) of each token among a level's log-probabilities in `digit_scores`; -1: none."""
        shape = self.net.shape
        sizes = torch.tensor(list(shape.level_sizes), device=self.device)
        level = torch.arange(len(sizes), device=self.device).repeat_interleave(sizes)
        places = torch.full((len(sizes), shape.n_tokens), -1, dtype=torch.long, device=self.device)
        places[level, self.net.level_tokens] = torch.arange(len(level), device=self.device)
        return places

    @torch.no_grad()
    def digit_scores(self, batch: Sources) -> Tensor:
        """Log-probabilities (U, P) of all tokens of all digits, where `places` says."""
        rows, _, _ = pad_words(batch, self.device, max(1, longest_word(batch)))
        states = self.net.encode(rows)
        last = torch.from_numpy(_last_items(batch)).to(self.device)
        return self.net.log_probabilities(states[torch.arange(len(batch), device=self.device), last])

    def start(self, batch: Sources) -> State:
        return State(self.digit_scores(batch), 0, None)

    @torch.no_grad()
    def advance(self, state: State, tokens: Tensor, parents: Tensor) -> tuple[Tensor, State]:
        """Logits are log-probabilities. Beyond the digits, tokens that lead on from a code share its probability evenly;
        after what is no code, all tokens do."""
        users, beams = tokens.shape
        shape, node = self.net.shape, None
        if shape.edges and state.node is None:
            node = torch.zeros_like(tokens)
        elif shape.edges:
            node = step(self.net.edges, shape.n_tokens, state.node.gather(1, parents), tokens)

        if state.length < self.digits:
            own = slice(sum(shape.level_sizes[: state.length]), sum(shape.level_sizes[: state.length + 1]))
            logits = torch.full((users, shape.n_tokens), FAR, device=tokens.device)
            logits[:, self.net.level_tokens[own]] = state.logp[:, own].float()
            logits = logits[:, None].expand(-1, beams, -1)
        elif node is None:
            logits = torch.zeros(users, 1, 1, device=tokens.device).expand(-1, beams, shape.n_tokens)
        else:
            there = leading_on(self.net.edges, shape.n_tokens, node)
            logits = torch.zeros(there.shape, device=tokens.device).masked_fill(~there, FAR)
        return logits, State(state.logp, state.length + 1, node)

    def size(self) -> str:
        c = self.config
        return f"{c.layers}x{c.d_model}/{c.d_ff}"


class Targets:
    """The targets of training examples: the digits of each, and the position that predicts it."""

    def __init__(self, network: Network, examples: Examples, places: Tensor, device: str) -> None:
        self.network, self.device = network, device
        self.width = max(1, longest_word(examples.sources))
        self.of = Ragged(np.arange(len(examples.targets)), examples.target_offsets)
        self.seen = visible_words(examples).visible

        sizes = np.array(network.shape.level_sizes)
        codes = examples.targets[:, : len(sizes)].astype(np.int64)
        self.digits = places.cpu().numpy()[np.arange(len(sizes)), codes] - (np.cumsum(sizes) - sizes)

    def loss(self, sources: Sources, trees: TargetTrees, rows: Int64) -> tuple[Tensor, int]:
        """Summed cross-entropy of the digits of the targets of some examples, and their number."""
        batch, targets = sources.take(rows), self.of.take(rows)
        padded, _, _ = pad_words(batch, self.device, self.width)
        last = _last_items(batch)[targets.rows] if self.seen is None else self.seen[targets.values] - 1

        states = self.network.encode(padded)
        states = states[torch.from_numpy(targets.rows).to(self.device), torch.from_numpy(last).to(self.device)]
        digits = self.digits[targets.values]
        return self.network.loss(states, torch.from_numpy(digits).to(self.device)), digits.size


def _last_items(batch: Sources) -> Int64:
    """The position of each source's last item, (U,); 0 for an empty source."""
    last = np.zeros(len(batch), np.int64)
    some = np.flatnonzero(batch.lengths)
    changes = np.diff(batch.words, prepend=-1) != 0
    changes[batch.offsets[:-1][some]] = True
    count = np.cumsum(changes)
    last[some] = count[batch.offsets[1:][some] - 1] - count[batch.offsets[:-1][some]]
    return last
