"""What each kind of component promises, as small abstract classes for built-ins and plugins alike.

They draw a line: a backbone knows tokens, never items; a decoder knows the index, never the architecture; neither counts
its own failures (`genrec_bench.protocol` does). Imports no torch: tensors appear only in annotations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from genrec_bench.core.arrays import Float32, Ragged
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
from genrec_bench.errors import NeedsMissing

if TYPE_CHECKING:
    import torch

CONTRACT = 1
START = -1  # the token before the first: what `Backbone.advance` gets in its first call
Task = Literal["direct", "sequential"]
Normalisation = Literal[
    "alphabet", "children"
]  # what a token's probabilities sum to 1 over: all tokens | a node's children


@dataclass(frozen=True)
class DatasetContext:
    """What a data set may use: the folder of data files, a folder for parsed copies, and how to report progress."""

    data_dir: Path | None = None
    cache_dir: Path | None = None
    progress: Progress = field(default_factory=Quiet)


@dataclass(frozen=True)
class ComponentContext:
    """What every component that computes may use: the run's seed, its device, and how to report progress.

    `rng` is one stream of random numbers from the seed; every draw advances it. Draw from it, or seed your own generator
    with `seed`; a global generator would disturb other components.
    """

    seed: int = 0
    device: str = "cpu"
    progress: Progress = field(default_factory=Quiet)
    rng: np.random.Generator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rng", np.random.default_rng(self.seed))


@dataclass(frozen=True)
class IndexerContext(ComponentContext):
    """What an indexer may use. It does not learn the task: both tasks share an index."""


@dataclass(frozen=True)
class BackboneContext(ComponentContext):
    """What a backbone may use while it is trained.

    `folder` is for its checkpoints (None: keep nothing). `validate()` returns ndcg@10 of its current weights on validation,
    by the protocol's decoder (None: there is no validation). Where that is on a sample of users, `validate_on_all()` is the
    same on all of them, for a last choice between a few sets of weights (None: there are no more users).
    """

    folder: Path | None = None
    validate: Callable[[], float] | None = None
    validate_on_all: Callable[[], float] | None = None


@dataclass(frozen=True)
class DecoderContext(ComponentContext):
    """What a decoder may use while it prepares."""


@dataclass(frozen=True)
class BaselineContext(ComponentContext):
    """What a baseline may use: the task, its own folder (None: keep nothing), and its score on validation.

    `validate()` ranks the validation cases with the baseline's current state and returns ndcg@10, seen items hidden
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

    `needs` may name `item_titles`, `item_features`, `times` and `ratings`; the data set must offer them. An indexer or a
    baseline may also need `item_ids` and `user_ids`, the external ids: every data set has them, and no other component sees
    them. A component whose needs depend on its options sets `self.needs` in `__init__`.

    `search_space` says what `genrec tune` varies by default: for an option, a range `(low, high)` or `(low, high, "log")`
    (of whole numbers, if both ends are whole), or a list of choices.
    """

    Config: ClassVar[type] = NoConfig
    contract: ClassVar[int] = CONTRACT
    needs: frozenset[str] = frozenset()
    search_space: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config

    def ready(self) -> None:
        """Check cheaply, without data, the libraries, files and names that the options refer to.

        Called once before data is read. A GenrecError says in one line what is missing and what to do.
        """

    def fingerprint(self) -> str:
        """SHA-256 of the files, other than the data set, that it reads; empty if there are none.

        Cache keys contain it, and a finished run is not returned after it has changed.
        """
        return ""


class Dataset(Component):
    """Gives interactions. `offers` names what it has for the `needs` of others, without loading it."""

    offers: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def load(self, ctx: DatasetContext) -> Interactions:
        """Read, check and filter the data. DataError, with path and line, if anything is missing or malformed."""


class Indexer(Component):
    """Gives every item a code, and every user too if it can."""

    @abstractmethod
    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """Codes from the training part. The same input and `ctx.seed` give the same index."""


class Template(ABC):
    """Turns users into source tokens, for one task and one index.

    `history` is the most items that it shows in the sequential task. The sources of a backbone that trains on sequences end
    with the codes of these items.
    """

    history: int = 20

    @abstractmethod
    def render(self, queries: Queries) -> Sources:
        """One source per query. `queries.history` holds all seen items; the template takes those that the task shows."""

    def training(self, queries: Queries, rng: np.random.Generator) -> Sources:
        """The sources of one training epoch, if they differ from `render`: prompts drawn anew, for example."""
        return self.render(queries)


@dataclass(frozen=True)
class FitReport:
    """How training went: epochs run, the epoch kept (1-based), and a row per epoch: its `epoch`, `loss`, `seconds` of
    training and, where it was validated, `validation`.

    `targets_per_epoch` counts the target codes learned from in one epoch. `seconds` are those of training steps alone,
    before a resumption too (0: not measured). `ended_by` is `early stop`, `epochs` (all that were allowed), `time limit`, or
    empty where nobody says. `on_all_users` are the scores, by epoch, that decided between the epoch that is best on the
    validation sample and the last one.
    """

    epochs: int
    best_epoch: int
    history: tuple[Mapping[str, Any], ...] = ()
    examples_per_epoch: int = 0
    resumed_from: int = 0
    precision: str = "fp32"
    targets_per_epoch: int = 0
    seconds: float = 0.0
    ended_by: str = ""
    on_all_users: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidates:
    """The tokens whose logits a search asks for: those of hypothesis `(u, b)` are the row `which[u, b]` of `tokens`.

    `tokens` `(rows, C)` int64 is padded with any token, whose logits nobody reads; `which` `(users, beams)` int64. Hypotheses
    at the same node of the catalogue share a row.
    """

    tokens: torch.Tensor
    which: torch.Tensor

    def of(self, logits: torch.Tensor) -> torch.Tensor:
        """The candidates' columns `(users, beams, C)` of logits over all tokens, `(users, beams, n)`."""
        return logits.gather(-1, self.tokens[self.which])


class Backbone(Component):
    """A network over tokens. Training options are part of its config (`epochs`, `learning_rate`, ...).

    `normalisation` says what its training lets the probabilities of a next token sum to 1 over: `alphabet`, all tokens that
    its softmax covers, or `children`, the tokens that lead on to an item (P13). `trains_on` says what the examples of the
    sequential task are: `rows`, one source for each target, or `sequences`, one source for each user, of which target `i`
    sees the items before it (`Examples.visible`).
    """

    profiles: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    device: str = "cpu"  # where its logits are; set by `fit` and `load`
    extra_columns: int = 0  # columns of its logits after the code tokens, for whatever else its softmax covers
    normalisation: Normalisation = "alphabet"
    trains_on: Literal["rows", "sequences"] = "rows"

    @classmethod
    def profile(cls, name: str, task: Task) -> Mapping[str, Any]:
        """The options of a named profile; `NAME/TASK` in `profiles` refines `NAME`."""
        return {**cls.profiles[name], **cls.profiles.get(f"{name}/{task}", {})}

    @abstractmethod
    def template(self, task: Task, index: Index) -> Template:
        """How a user becomes source tokens."""

    @abstractmethod
    def fit(self, examples: Examples, ctx: BackboneContext) -> FitReport:
        """Train from scratch, or resume from `ctx.folder`, and end with the weights of the best epoch."""

    @abstractmethod
    def start(self, batch: Sources) -> Any:
        """Read the sources: once per user, however many beams there are. The state is opaque to everyone else."""

    @abstractmethod
    def advance(self, state: Any, tokens: torch.Tensor, parents: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """One decoding step for all hypotheses: `tokens`, `parents` `(users, beams)` int64.

        A hypothesis continues the one of the previous call that `parents` names, by the token in `tokens`. The first
        call has width 1, token `START`, parent 0. Widths may change from call to call; padding slots repeat a live parent.
        Returns what `logits` needs to know of each hypothesis, `(users, beams, any size)`, and the new state.
        """

    def logits(self, hidden: torch.Tensor, candidates: Candidates | None = None) -> torch.Tensor:
        """fp32 logits of the next token, from what `advance` returned: of the candidates `(users, beams, C)`, or without
        them of all `(users, beams, n_tokens + extra_columns)`.

        Unless a backbone has its own, `advance` gives the logits themselves, which suits a small alphabet.
        """
        return hidden if candidates is None else candidates.of(hidden)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the weights (safetensors) and what it takes to rebuild the network (JSON)."""

    @abstractmethod
    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote, onto `device`."""

    @abstractmethod
    def parameters_count(self) -> Mapping[str, int]:
        """The number of trained parameters: `{"embedding": ..., "other": ...}`."""

    def size(self) -> str:
        """A short description for tables, such as `6+6x512/16`, or an empty string."""
        return ""

    def variant(self) -> str:
        """What the name alone does not say: tables print `t5-small (scratch)`. Usually empty."""
        return ""


class Decoder(Component):
    """Searches for the codes that a backbone scores highest.

    `excludes_in_search` says whether `exclude` changes the search itself. If it does not, one search serves both history
    policies. `normalisations` are those that it can search with.
    """

    excludes_in_search: ClassVar[bool] = False
    normalisations: ClassVar[frozenset[Normalisation]] = frozenset({"alphabet", "children"})

    def prepare(self, train: TrainView, ctx: DecoderContext) -> None:
        """Called once before the first search of a run: a decoder may count items in the training part here, for example."""

    @abstractmethod
    def generate(
        self, backbone: Backbone, batch: Sources, index: Index, *, beams: int, exclude: Ragged | None = None
    ) -> Generations:
        """The `beams` best hypotheses of each source. `exclude` lists, by source, the items to leave out of the search."""

    def counts(self) -> Mapping[str, int]:
        """Counts of what the last search did, by name. Their sums over a run's batches go into the record's `throughput`."""
        return {}


class Baseline(Component):
    """Ranks items by any means. Never sees a test target.

    In the task `direct` (`ctx.task`) it goes by `queries.user` and what it has learned: generators see no history there, and
    at the test `queries.history` holds the validation item. `uses_gpu` says whether it can compute on a GPU (`ctx.device`),
    which `auto` then picks. Every other baseline runs, and is recorded, on the CPU.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("direct", "sequential")
    uses_gpu: ClassVar[bool] = False

    @abstractmethod
    def fit(self, train: TrainView, ctx: BaselineContext) -> None:
        """Learn from the training part."""

    @abstractmethod
    def rank(self, queries: Queries, *, k: int, exclude: Ragged | None = None) -> Ranking:
        """The best `k` items of each query, or fewer if there are no more; never one of `exclude`."""

    def item_vectors(self) -> Float32:
        """The vectors `(n_items, d)` that `fit` has learned of the items, for indexers that quantise vectors.

        NeedsMissing if it learns none.
        """
        raise NeedsMissing(f"{type(self).__name__} learns no item vectors", needs="item vectors")

    def facts(self) -> Mapping[str, Any]:
        """How training went, as plain JSON data for the record's `training`. Called once after `fit`; may be empty.

        Keys in the record's schema (`epochs`, `history`, `converged`, ...) must mean what it says; others are free.
        """
        return {}
