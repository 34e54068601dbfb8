"""How much faster training on whole sequences is than on one row for each target, for the same network.

First the sequences' gradient is compared with that of the rows, which hold the same targets with the same history: unless
they agree, no time is printed. The rows are also timed in the form that LightLM had before there was any other: an encoder
that reads both ways, a position for each token, tokens of a level, a softmax over all of them. At last `depth` is
compared with the T5 of transformers as re-runs of TIGER train it: another network on the same histories, so what is
compared is the time that a target costs.

Histories have the lengths of Amazon Beauty's training part, or are Beauty's own, from a folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genrec_bench.api import (
    Examples,
    GenrecError,
    Index,
    IndexerContext,
    Int32,
    Progress,
    Ragged,
    TokenScope,
    TrainView,
    load_dataset,
    split_data,
    train_view,
)
from genrec_bench.backbones.depth import Depth, DepthConfig
from genrec_bench.backbones.encoder_decoder import EncoderDecoder
from genrec_bench.backbones.lightlm import LightLM, LightLMConfig
from genrec_bench.backbones.trainer import resolve_precision
from genrec_bench.host import registry
from genrec_bench.indexers.kmeans_tree import KmeansTree, KmeansTreeConfig
from genrec_bench.runs.decoding import Generator
from genrec_bench.runs.examples import make_examples
from genrec_bench.testing.synthetic import clustered_codes
from genrec_speed.ours import OurLoop
from genrec_speed.profile import profile
from genrec_speed.results import Grid, Row
from genrec_speed.tiger import CODE, SHOWN, TigerLoop
from genrec_speed.timing import ROUNDS, WARMUPS, interleaved, quickest, synchroniser

TOLERANCE = 1e-4  # of a gradient, relative to its length, in fp32
CHECKED = 32  # users
HISTORY = 50  # items shown, in every form
ITEMS, TREE, LEAF = 12_000, (32, 32), 64  # the planted catalogue: as `kmeans-tree` would divide Beauty's
USERS: Mapping[Grid, tuple[int, int]] = {"small": (1024, 128), "full": (8192, 1024)}  # a pass on sequences, on rows
TIGER_ROUNDS = 3

LIGHTLM = {"layers": 4, "d_model": 128, "heads": 4, "d_ff": 32, "dropout": 0.0}  # the sizes of `quick`
ROWS_A_STEP = 32  # of LightLM's earlier form
SEQUENCES = {
    "batch_size": LightLM.profiles["quick/sequential"]["batch_size"],
    "encoder": "causal",
    "history_tokens": "item",
    "word_embedding": False,
    "trains_on": "sequences",
    "normalisation": "children",
}
DEPTH = dict(Depth.profiles["quick"])


class GradientsDiffer(GenrecError):
    """Sequences and rows gave different gradients, so their times may not be compared (`parameter`, `difference`)."""


@dataclass(frozen=True)
class Histories:
    """Training histories with a name, and the labels (items, levels) of a tree over their items, padded with -1."""

    name: str
    train: TrainView
    labels: Int32

    def index(self, scope: TokenScope) -> Index:
        """The tree's codes, with tokens of this scope."""
        return Index.from_labels(self.labels, scope=scope)

    def some(self, count: int) -> Histories:
        """The same with `count` users drawn at random, or all if there are no more."""
        users = np.random.default_rng(0).permutation(self.train.n_users)[:count]
        return Histories(self.name, TrainView(self.train.sequences.take(users), self.train.n_items), self.labels)


def planted_histories(users: int) -> Histories:
    """Users who keep to one of the tree's first clusters and prefer its popular items."""
    rng = np.random.default_rng(0)
    lengths = 2 + rng.geometric(0.2, users)  # as Amazon Beauty without held-out items: 3 and more, 7 on average
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    codes = clustered_codes(ITEMS, TREE, LEAF)
    shelves = np.argsort(codes[:, 0], kind="stable")  # the items, cluster by cluster
    sizes = np.bincount(codes[:, 0])

    cluster = np.repeat(rng.integers(len(sizes), size=users), lengths)
    place = (sizes[cluster] * rng.random(len(cluster)) ** 2).astype(np.int64)
    items = shelves[(np.cumsum(sizes) - sizes)[cluster] + place]
    sequences = Ragged(items.astype(np.int32), offsets)
    return Histories("histories of Beauty's lengths", TrainView(sequences, ITEMS), codes)


def beauty(folder: Path, progress: Progress) -> Histories:
    """Amazon Beauty's training part, and `kmeans-tree`'s tree over it."""
    data, split = split_data(load_dataset("beauty", data_dir=folder, progress=progress))
    train = train_view(data, split)
    index = KmeansTree(KmeansTreeConfig()).build(train, IndexerContext(progress=progress))
    return Histories("Beauty's histories", train, index.items.codes)


def rows(grid: Grid, device: str, progress: Progress, folder: Path | None = None) -> list[Row]:
    """The rows of all comparisons. `folder`: where Amazon Beauty's files are; None: planted histories."""
    users, fewer = USERS[grid]
    histories = planted_histories(users) if folder is None else beauty(folder, progress).some(users)

    measured = []
    with progress.phase("train on sequences", 3, "networks") as tick:
        for name in ("lightlm", "depth"):
            measured += measure(name, histories, fewer, device)
            tick(1, name)
        measured += against_tiger(histories, device)
        tick(1, "TIGER's T5")
    return measured


# the same network, both ways ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """A network with random weights, the examples that it learns from, and how it learns."""

    backbone: EncoderDecoder
    examples: Examples
    batch_size: int

    @classmethod
    def of(cls, name: str, histories: Histories, device: str, **options: Any) -> Form:
        """The backbone `name` with these options; path tokens where its probabilities are over children."""
        backbone = backbone_of(name, **options)
        index = histories.index("path" if backbone.normalisation == "children" else "level")
        pooled = backbone.config.history_tokens == "item"
        backbone.begin(index.n_tokens, 0, device, index.items.width if pooled else 0)
        return cls(backbone, examples_of(name, backbone, index, histories.train.sequences), backbone.config.batch_size)

    def loop(self, steps: int, precision: str, batch_size: int | None = None) -> OurLoop:
        """Its training, `batch_size` sources a step."""
        return OurLoop(
            self.backbone.net,
            self.examples,
            steps,
            precision,
            normalisation=self.backbone.normalisation,
            batch_size=batch_size or self.batch_size,
        )


def backbone_of(name: str, **options: Any) -> EncoderDecoder:
    """`lightlm` or `depth` in the sizes of its profile `quick`, without dropout, showing `HISTORY` items."""
    if name == "depth":
        return Depth(DepthConfig(**{**DEPTH, "dropout": 0.0, "history": HISTORY, **options}))
    return LightLM(LightLMConfig(**{**LIGHTLM, "batch_size": ROWS_A_STEP, "history": HISTORY, **options}))


def examples_of(name: str, backbone: EncoderDecoder, index: Index, train: Ragged) -> Examples:
    """What the backbone learns from, in the sequential task."""
    generator = Generator(backbone, backbone.template("sequential", index), index, registry.find("backbone", name))
    return make_examples(train, "sequential", generator, Path(tempfile.gettempdir()))


def measure(
    name: str, histories: Histories, fewer: int, device: str = "cpu", rounds: int = ROUNDS, **sizes: Any
) -> list[Row]:
    """The rows of one network. GradientsDiffer unless both ways have the same gradient.

    A pass on rows takes `fewer` of the users, drawn at random, because it is so much slower; rates are compared.
    """
    new = {**(SEQUENCES if name == "lightlm" else {}), **sizes}
    together = Form.of(name, histories, device, **new)
    some = histories.some(fewer)
    apart = Form.of(name, some, device, **{**new, "trains_on": "rows"})
    difference = require_equal_gradients(name, histories, **new)

    forms = {"the same network, a row per target": apart}
    if name == "lightlm":
        forms["bidirectional, level tokens, alphabet, a row per target"] = Form.of(name, some, device, **sizes)
    has_bf16 = resolve_precision("auto", device, together.backbone.net.shape.d_model) == "bf16"

    measured = []
    for precision in ("fp32", "bf16") if has_bf16 else ("fp32",):
        measured += compare(name, histories, together, forms, precision, difference, rounds)
    return measured


def compare(
    name: str,
    histories: Histories,
    together: Form,
    forms: Mapping[str, Form],
    precision: str,
    difference: float,
    rounds: int,
) -> list[Row]:
    """Passes on sequences, against passes of each of the `forms` at the batch size that makes it quicker."""
    targets = len(together.examples.targets)
    as_many = round(together.batch_size * targets / len(together.examples))  # targets a step
    steps = (rounds + WARMUPS + 4) * targets  # more than are taken, so that the learning rate stays above 0
    ours = together.loop(steps, precision)
    sides: dict[str, Callable[[], Any]] = {"sequences": ours.pass_over}

    batches = {}
    for against, form in forms.items():
        loops = {size: form.loop(steps, precision, size) for size in sorted({form.batch_size, as_many})}
        batches[against] = quickest(partial(pass_of, loops), list(loops))
        sides[against] = loops[batches[against]].pass_over
    times = interleaved(sides, rounds=rounds, synchronise=synchroniser(ours.device))

    measured = []
    case, on_cpu = f"{name} on sequences, {histories.name}, {precision}", ours.device == "cpu"
    for (against, form), goal in zip(forms.items(), ("12a", "12b"), strict=False):
        theirs = len(form.examples.targets)
        ratio, low, high = (targets / theirs * value for value in times.ratio(against, "sequences"))
        details = {
            "targets/s": targets / times.median("sequences"),
            "targets/s, usual": theirs / times.median(against),
            "targets a step": as_many,
            "targets a step, usual": batches[against],
        }
        if goal == "12a":
            details["gradients differ by"] = difference

        measured.append(Row(case, against, ratio, "x", low, high, goal if on_cpu else None, details))
        if on_cpu:
            named = f"{case}, against {against}"
            measured.append(profile(named, ours.pass_over, sides[against], targets, "target", theirs))
    return measured


def pass_of(loops: Mapping[int, OurLoop], size: int) -> None:
    """One epoch of the loop with this batch size."""
    loops[size].pass_over()


def require_equal_gradients(name: str, histories: Histories, **options: Any) -> float:
    """The largest relative difference of a parameter's gradient, on users whose whole history is shown.

    GradientsDiffer if it is above `TOLERANCE`.
    """
    short = np.flatnonzero(histories.train.sequences.lengths <= HISTORY + 1)[:CHECKED]
    checked = Histories(
        histories.name, TrainView(histories.train.sequences.take(short), histories.train.n_items), histories.labels
    )
    one, other = (
        gradients(Form.of(name, checked, "cpu", **{**options, "trains_on": way})) for way in ("sequences", "rows")
    )

    differences = {
        parameter: float((one[parameter] - grad).norm() / grad.norm().clamp(min=1e-30))
        for parameter, grad in other.items()
    }
    worst = max(differences, key=differences.__getitem__)
    if one.keys() != other.keys() or not differences[worst] <= TOLERANCE:
        raise GradientsDiffer(
            f"{name}: the gradient of {worst} on sequences differs from that row by row by {differences[worst]:.2g} of its "
            "length; no time is printed for trainings that differ",
            parameter=worst,
            difference=differences[worst],
        )
    return differences[worst]


def gradients(form: Form) -> dict[str, Tensor]:
    """The gradient of the mean loss of all its target tokens, by parameter, in fp32."""
    loop = form.loop(1, "fp32")
    loss, tokens = loop.loss_of(np.arange(len(loop.examples)))
    (loss / tokens).backward()
    return {name: value.grad for name, value in loop.net.named_parameters() if value.grad is not None}


# against TIGER's network ----------------------------------------------------------------------------------------------


def against_tiger(
    histories: Histories, device: str = "cpu", rounds: int = TIGER_ROUNDS, batch: int | None = None, **sizes: Any
) -> list[Row]:
    """`depth` as its profile `quick` trains it, and in fp32, against one step of TIGER's T5 of `batch` rows."""
    form = Form.of("depth", histories, device, dropout=DepthConfig().dropout, **sizes)
    targets, own = len(form.examples.targets), resolve_precision("auto", device, form.backbone.net.shape.d_model)
    steps = (rounds + WARMUPS + 4) * targets
    loops = {precision: form.loop(steps, precision) for precision in dict.fromkeys((own, "fp32"))}

    tiger = TigerLoop(histories.train, device, **({} if batch is None else {"batch_size": batch}))
    sides = {"tiger": tiger.step, **{precision: loop.pass_over for precision, loop in loops.items()}}
    times = interleaved(sides, rounds=rounds, warmups=1, synchronise=synchroniser(device))

    share = targets / tiger.batch_size  # how many steps of the peer make one pass over our targets
    against = f"HF T5 4+4x128/1024, a row per target, padded to {SHOWN * CODE} tokens, fp32"
    measured = []
    for precision in loops:
        ratio, low, high = (share * value for value in times.ratio("tiger", precision))
        case = f"depth, `quick`, {histories.name}, {precision}"
        details = {
            "targets/s": targets / times.median(precision),
            "targets/s, usual": tiger.batch_size / times.median("tiger"),
            "targets a step": round(form.batch_size * targets / len(form.examples)),
            "targets a step, usual": tiger.batch_size,
        }
        goal = "12c" if precision == own and device == "cpu" else None
        measured.append(Row(case, against, ratio, "x", low, high, goal, details))
    return measured
