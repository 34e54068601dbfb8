"""What each kind of component promises. Small abstract classes; built-ins and plugins stand on the same ones.

The line they hold: a backbone knows tokens, never items; a decoder knows the index, never the architecture; neither
counts its own failures (`genrec_bench.metrics` does). Imports no torch: tensors appear in annotations only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import Index
from genrec_bench.core.events import Interactions
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.core.rankings import Generations, Ranking
from genrec_bench.core.sequences import (
    Examples,
    Queries,
    Sources,
    TrainView,
)

if TYPE_CHECKING:
    import torch

CONTRACT = 1
START = -1  # the token before the first: what `Backbone.advance` gets in its first call
Task = Literal["direct", "sequential"]


@dataclass(frozen=True)
class DatasetContext:
    """What a data set may use: where data files are, where parsed copies may be kept, and how to report progress."""

    data_dir: Path | None = None
    cache_dir: Path | None = None
    progress: Progress = field(default_factory=Quiet)


@dataclass(frozen=True)
class ComponentContext:
    """What every component that computes may use: the run's seed, its device, and how to report progress.

    `rng` is a stream of random numbers from the seed: what is drawn is gone. Draw from it, or seed a generator of your
    own with `seed`; a global generator disturbs other components.
    """

    seed: int = 0
    device: str = "cpu"
    progress: Progress = field(default_factory=Quiet)
    rng: np.random.Generator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rng", np.random.default_rng(self.seed))


@dataclass(frozen=True)
class IndexerContext(ComponentContext):
    """What an indexer may use. It does not know the task: both tasks share an index."""


@dataclass(frozen=True)
class BackboneContext(ComponentContext):
    """What a backbone may use while it is trained.

    `folder` is for its own checkpoints (None: keep nothing). `validate()` scores the backbone as it is now on validation
    by the protocol's decoder, and returns ndcg@10 (None: there is no validation).
    """

    folder: Path | None = None
    validate: Callable[[], float] | None = None


@dataclass(frozen=True)
class DecoderContext(ComponentContext):
    """What a decoder may use while it prepares."""


@dataclass(frozen=True)
class BaselineContext(ComponentContext):
    """What a baseline may use: the task, a folder of its own (None: keep nothing), and its score on validation.

    `validate()` ranks the validation cases with the baseline as it is now, and returns ndcg@10 with seen items hidden
    (None: there is no validation).
    """

    task: Task = "direct"
    folder: Path | None = None
    validate: Callable[[], float] | None = None


@dataclass(frozen=True)
class NoConfig:
    """The configuration of a component without options."""


class Component(ABC):
    """Common to all kinds: a frozen dataclass of options, the contract number, and what the component needs.

    `needs` may name `item_titles`, `item_features`, `times`, `ratings`: checked against the data set before any work.
    An indexer or a baseline may also need `item_ids` and `user_ids`, the external ids, which every data set has and no
    one else sees. A component whose needs depend on its options sets `needs` on itself in `__init__`.
    `search_space` is what `genrec tune` varies unless told otherwise: by option, a range `(low, high)` or `(low, high, "log")`
    (whole numbers give whole numbers), or a list of choices.
    """

    Config: ClassVar[type] = NoConfig
    contract: ClassVar[int] = CONTRACT
    needs: ClassVar[frozenset[str]] = frozenset()
    search_space: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config

    def ready(self) -> None:
        """Check what can be checked without data, cheaply: libraries, files and names that the options point to.

        Called once before data is read. A GenrecError says in one line what is missing and what to do.
        """

    def fingerprint(self) -> str:
        """SHA-256 of the files it reads besides the data set: another content is another result, so cache keys carry
        it, and a finished run is not returned once they have changed. Empty: it reads none."""
        return ""


class Dataset(Component):
    """Gives interactions. `offers` is what the set has for those who need it, known without loading it."""

    offers: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def load(self, ctx: DatasetContext) -> Interactions:
        """Read, check and filter the data. DataError (with path and line) for anything missing or garbled."""


class Indexer(Component):
    """Gives every item, and if it can every user, a code."""

    @abstractmethod
    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """Codes from the training part. Equal input and `ctx.seed` give the equal index."""


class Template(ABC):
    """Turns users into source tokens, for one task and one index."""

    @abstractmethod
    def render(self, queries: Queries) -> Sources:
        """One source per query. `queries.history` holds all items a user has; the template takes what the task shows."""

    def training(self, queries: Queries, rng: np.random.Generator) -> Sources:
        """The sources of one epoch of training, where they differ from `render`: prompts drawn anew, for example."""
        return self.render(queries)


@dataclass(frozen=True)
class FitReport:
    """What training did: epochs run, the epoch kept (1-based), and one row per epoch with its loss and validation."""

    epochs: int
    best_epoch: int
    history: tuple[Mapping[str, Any], ...] = ()
    examples_per_epoch: int = 0
    resumed_from: int = 0
    precision: str = "fp32"


class Backbone(Component):
    """A network over tokens. Training options are part of its config (`epochs`, `learning_rate`, ...)."""

    profiles: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    device: str = "cpu"  # where its logits are; set by `fit` and `load`
    extra_columns: int = 0  # columns of its logits after the code tokens: what else its softmax is over

    @classmethod
    def profile(cls, name: str, task: Task) -> Mapping[str, Any]:
        """Config values of a named profile; `NAME/TASK` in `profiles` refines `NAME`."""
        return {**cls.profiles[name], **cls.profiles.get(f"{name}/{task}", {})}

    @abstractmethod
    def template(self, task: Task, index: Index) -> Template:
        """How a user becomes source tokens."""

    @abstractmethod
    def fit(self, examples: Examples, ctx: BackboneContext) -> FitReport:
        """Train from scratch (or resume from `ctx.folder`), and end with the best epoch's weights in place."""

    @abstractmethod
    def start(self, batch: Sources) -> Any:
        """Read the sources, once per user whatever the number of beams. The result is opaque to everyone else."""

    @abstractmethod
    def advance(self, state: Any, tokens: torch.Tensor, parents: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """One decoding step for all hypotheses: `tokens`, `parents` `(users, beams)` int64.

        `parents` says which hypothesis of the previous call each one continues, `tokens` by which token. The first call
        has width 1, token `START`, parent 0; widths may change from call to call; padding slots repeat a live parent.
        Returns logits `(users, beams, n_tokens + extra_columns)` for the next token, in fp32, and the new state.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and what is needed to rebuild the network (JSON)."""

    @abstractmethod
    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote, onto `device`."""

    @abstractmethod
    def parameters_count(self) -> Mapping[str, int]:
        """Trained numbers: `{"embedding": ..., "other": ...}`."""

    def size(self) -> str:
        """A short description for tables, such as `6+6x512/16`; empty if there is nothing to say."""
        return ""

    def variant(self) -> str:
        """What ran, where the name alone does not tell: tables print `t5-small (scratch)`. Empty: nothing to add."""
        return ""


class Decoder(Component):
    """Searches for the codes a backbone likes best.

    `excludes_in_search` says whether `exclude` changes the search itself; where it does not, one search serves both
    history policies.
    """

    excludes_in_search: ClassVar[bool] = False

    def prepare(self, train: TrainView, ctx: DecoderContext) -> None:
        """Called once, before the first search of a run: a decoder that weighs items may count them in training here."""

    @abstractmethod
    def generate(
        self, backbone: Backbone, batch: Sources, index: Index, *, beams: int, exclude: Ragged | None = None
    ) -> Generations:
        """The `beams` best hypotheses per source. `exclude` lists, per source, items that must not be searched."""

    def counts(self) -> Mapping[str, int]:
        """What the last search did beyond the ordinary, as numbers by name: summed over a run's batches, they go into the
        record's `throughput`. Empty: nothing to say."""
        return {}


class Baseline(Component):
    """Ranks items by any means. Never sees a test target.

    In the task `direct` (`ctx.task`) it goes by `queries.user` and what it learned: generators see no history there, and
    `queries.history` holds the validation item at test time. `uses_gpu` says whether it computes on `ctx.device` when
    that is a GPU; `auto` then picks one. Every other baseline runs, and is recorded, on the CPU.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("direct", "sequential")
    uses_gpu: ClassVar[bool] = False

    @abstractmethod
    def fit(self, train: TrainView, ctx: BaselineContext) -> None:
        """Learn from the training part."""

    @abstractmethod
    def rank(self, queries: Queries, *, k: int, exclude: Ragged | None = None) -> Ranking:
        """The best `k` items per query, fewer where it has no more; never one of `exclude`'s."""

    def facts(self) -> Mapping[str, Any]:
        """How its training went, for the record's `training`: JSON-able, asked once after `fit`. Empty: nothing to say.

        Keys that the record's schema lists (`epochs`, `history`, `converged`, ...) mean what it says; others are free.
        """
        return {}
