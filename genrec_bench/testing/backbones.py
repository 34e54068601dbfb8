"""Checks of backbones: sources, decoding steps, weights on disk, and that training learns.

Knows tokens and paths of tokens; a backbone's architecture and its loss are its own business.
"""

from __future__ import annotations

import numpy as np
import torch

from genrec_bench.core.sequences import Queries, Sources
from genrec_bench.host.contracts import Candidates
from genrec_bench.testing import networks
from genrec_bench.testing.held_out import near_held_out
from genrec_bench.testing.kit import (
    NotApplicable,
    Subject,
    check,
    expect,
    folder,
    without_global_randomness,
)
from genrec_bench.testing.networks import (
    call,
    first,
    fit,
    fitted,
    queries_of,
    walk,
)

TOLERANCE = 1e-4
FEW = 8  # users of a training whose result does not matter
PICKLES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}
ABOVE_CHANCE = 3  # times the hit rate of random lists


class Stopped(KeyboardInterrupt):
    """Ends a training from outside, as Ctrl-C does."""


@check("backbone", essential=True)
def a_template_gives_one_source_per_query(subject: Subject) -> None:
    """Rendering gives one source per query: int32 tokens from 0 up, with a level and a word for each."""
    queries = queries_of(subject)
    for task, template in networks.tasks_of(subject).items():
        for how, sources in (
            ("", template.render(queries)),
            (" for training", template.training(queries, np.random.default_rng(0))),
        ):
            check_sources(sources, len(queries), f"the {task} template{how}")


def check_sources(sources: Sources, users: int, what: str) -> None:
    """Breach unless these are that many well-formed sources."""
    expect(
        isinstance(sources, Sources),
        f"{what} gave {type(sources).__name__}",
        "Return genrec_bench.core.sequences.Sources.",
    )
    expect(len(sources) == users, f"{what} gave {len(sources)} sources for {users} queries", "Render one per query.")
    expect(
        sources.offsets[0] == 0 and sources.offsets[-1] == len(sources.tokens) and (sources.lengths >= 0).all(),
        f"{what} has offsets {sources.offsets.tolist()} over {len(sources.tokens)} tokens",
        "Source i is tokens[offsets[i]:offsets[i + 1]].",
    )

    for name in ("tokens", "levels", "words"):
        part = getattr(sources, name)
        expect(part.dtype == np.int32, f"{what}: {name} are {part.dtype}", "They are int32.")
        expect(
            len(part) == len(sources.tokens), f"{what}: {len(part)} {name} of {len(sources.tokens)} tokens", "One each."
        )

    low = int(sources.tokens.min(initial=0))
    expect(low >= 0, f"{what} gave token {low}", "Source tokens count from 0; sources are flat, so nothing is padded.")


@check("backbone")
def a_source_depends_on_its_own_query_only(subject: Subject) -> None:
    """A query gets the same source alone, in a batch, and a second time."""
    queries = queries_of(subject)
    for task, template in networks.tasks_of(subject).items():
        together = template.render(queries)

        for row in range(len(queries)):
            alone = template.render(queries.take(np.array([row])))
            again = together.take(np.array([row]))
            expect(
                all(
                    np.array_equal(getattr(alone, name), getattr(again, name)) for name in ("tokens", "levels", "words")
                ),
                f"the {task} template renders query {row} of {len(queries)} differently alone",
                "Render each query on its own; random prompts belong into Template.training.",
            )


@check("backbone")
def fitting_reports_what_it_did(subject: Subject) -> None:
    """`fit` returns a FitReport whose best epoch it has run."""
    report = fitted(subject).report
    expect(
        1 <= getattr(report, "best_epoch", 0) <= getattr(report, "epochs", 0),
        f"fit gave {report!r}",
        "Return a FitReport with epochs run and the epoch kept, counted from 1.",
    )


@check("backbone")
def logits_have_the_agreed_shape(subject: Subject) -> None:
    """`logits` gives finite fp32 numbers (users, beams, n_tokens) on the backbone's device, whatever the width."""
    trained = fitted(subject)
    batch = trained.template.render(queries_of(subject))
    users, backbone = len(batch), trained.backbone
    state = backbone.start(batch)
    logits, state = first(backbone, state, users)
    check_logits(logits, (users, 1, trained.index.n_tokens), "the first call")
    for tokens, parents in (([0, 1, 2, 3], [0] * 4), ([5, 4], [3, 1]), ([6, 7, 8, 9, 9], [0, 1, 1, 0, 0])):
        logits, state = call(backbone, state, users, tokens, parents)
        check_logits(logits, (users, len(tokens), trained.index.n_tokens), f"a call of width {len(tokens)}")


def check_logits(logits: torch.Tensor, shape: tuple[int, ...], what: str) -> None:
    """Breach unless these are finite fp32 logits of that shape."""
    expect(
        tuple(logits.shape) == shape,
        f"{what} gave logits of shape {tuple(logits.shape)}, not {shape}",
        "Give (users, beams, n_tokens): one row per hypothesis, over the index's code tokens.",
    )
    expect(logits.dtype == torch.float32, f"{what} gave {logits.dtype}", "End with .float().")
    expect(
        bool(torch.isfinite(logits).all()),
        f"{what} gave logits that are NaN or infinite",
        "Look for a softmax over nothing (an empty source) or a training that diverged.",
    )


@check("backbone")
def candidates_have_their_own_logits(subject: Subject) -> None:
    """`logits` of some candidates are those columns of the logits of all tokens, within 1e-4, row by row."""
    trained = fitted(subject)
    batch, backbone, paths = trained.template.render(queries_of(subject)), trained.backbone, codes_of(trained, 3)
    users = len(batch)
    _, state = first(backbone, backbone.start(batch), users)
    hidden, _ = networks.advance(backbone, state, users, [path[0] for path in paths], [0] * len(paths))

    tokens = torch.tensor(paths[::-1], device=backbone.device)
    which = torch.arange(len(paths), device=backbone.device).flip(0).expand(users, -1)
    candidates = Candidates(tokens, which)
    expect(
        close(backbone.logits(hidden, candidates), candidates.of(backbone.logits(hidden))),
        "the logits of candidates differ from those columns of all logits",
        "Give candidates.of(logits over all tokens), or genrec_bench.api.candidate_logits(hidden, table, candidates).",
    )


@check("backbone")
def a_user_without_history_gets_logits(subject: Subject) -> None:
    """A query with an empty history is rendered and decoded, alone and in a batch."""
    trained = fitted(subject)
    for users in ([0], [0, 1, 2]):
        full = queries_of(subject, [*users, users[0]]).take(np.arange(len(users)))
        kept = full.history.lengths
        kept[0] = 0
        starts = full.history.offsets[:-1]
        queries = Queries(full.user, full.history.slice(starts, starts + kept))
        batch = trained.template.render(queries)
        check_sources(batch, len(users), "the template, of a user without history,")
        logits, _ = first(trained.backbone, trained.backbone.start(batch), len(users))
        check_logits(logits, (len(users), 1, trained.index.n_tokens), "a user without history")


@check("backbone")
def a_hypothesis_continues_its_parent(subject: Subject) -> None:
    """Logits belong to the path that `parents` and `tokens` spell, whatever the slots it went through."""
    trained = fitted(subject)
    batch, backbone = trained.template.render(queries_of(subject)), trained.backbone
    paths = codes_of(trained, 4)
    users = len(batch)
    _, state = first(backbone, backbone.start(batch), users)
    _, state = call(backbone, state, users, [path[0] for path in paths], [0] * len(paths))

    order = [2, 0, 3, 1]
    logits, _ = call(backbone, state, users, [paths[slot][1] for slot in order], order)
    for position, slot in enumerate(order):
        expect(
            close(logits[:, [position]], walk(backbone, batch, [paths[slot]])),
            f"the path {paths[slot]} reached by parents {order} has other logits than the path alone",
            "Take the state of each hypothesis from its parent: index the stored states with `parents`.",
        )


def codes_of(trained: networks.Fitted, count: int) -> list[list[int]]:
    """The first two tokens of some items' codes, each path once."""
    codes = trained.index.items.codes
    paths = np.unique(codes[(codes >= 0).sum(axis=1) >= 2][:, :2], axis=0)
    chosen: list[list[int]] = paths[np.linspace(0, len(paths) - 1, count).astype(int)].tolist()
    return chosen


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether logits agree within 1e-4."""
    return torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE)


@check("backbone")
def padding_slots_change_nothing(subject: Subject) -> None:
    """Slots that repeat a live parent leave the logits of the others as they are."""
    trained = fitted(subject)
    batch, backbone = trained.template.render(queries_of(subject)), trained.backbone
    paths, users = codes_of(trained, 2), len(batch)
    _, state = first(backbone, backbone.start(batch), users)
    _, state = call(backbone, state, users, [paths[0][0], paths[1][0]], [0, 0])
    second = [paths[0][1], paths[1][1]]
    plain, _ = call(backbone, state, users, second, [0, 1])
    padded, _ = call(backbone, state, users, [*second, second[0], second[0], second[0]], [0, 1, 0, 0, 0])
    expect(close(plain, padded[:, :2]), "padding slots change other slots' logits", "Slots never look at each other.")


@check("backbone")
def a_state_can_be_used_again(subject: Subject) -> None:
    """Advancing twice from one state gives the same logits twice: `advance` returns a new state and leaves the old."""
    trained = fitted(subject)
    batch, backbone = trained.template.render(queries_of(subject)), trained.backbone
    users, paths = len(batch), codes_of(trained, 2)
    start = backbone.start(batch)
    before, state = first(backbone, start, users)
    (one, two) = paths
    first_calls = [call(backbone, state, users, [one[0], two[0]], [0, 0]) for _ in range(2)]
    deeper = [call(backbone, below, users, [one[1], two[1]], [0, 1])[0] for _, below in first_calls]
    again, _ = first(backbone, start, users)

    expect(
        close(first_calls[0][0], first_calls[1][0]) and close(*deeper) and close(before, again),
        "a second advance from the same state gave other logits",
        "Copy what grows (keys and values of earlier steps) instead of changing it in place: `exact` searches so.",
    )


@check("backbone")
def a_batch_is_invisible(subject: Subject) -> None:
    """A user gets the same logits alone as in a batch with longer histories, within 1e-4."""
    trained = fitted(subject)
    batch = trained.template.render(queries_of(subject))
    (path, *_) = codes_of(trained, 2)
    together = walk(trained.backbone, batch, [path])

    for row in range(len(batch)):
        alone = walk(trained.backbone, batch.take(np.array([row])), [path])
        gap = float((together[row] - alone[0]).abs().max())
        expect(
            close(together[[row]], alone),
            f"user {row} of {len(batch)} has logits that differ by {gap:.2g} from those alone",
            "Mask the padding of shorter sources, and never normalise over the batch.",
        )


@check("backbone")
def saved_weights_give_the_same_logits(subject: Subject) -> None:
    """A fresh backbone that loads what was saved gives the same logits; nothing on disk is a pickle."""
    trained = fitted(subject)
    batch = trained.template.render(queries_of(subject))
    other = subject.make()
    with folder() as here:
        trained.backbone.save(here / "new" / "backbone")
        files = sorted(path.name for path in (here / "new" / "backbone").rglob("*"))
        other.load(here / "new" / "backbone", "cpu")

    expect(files, "save wrote nothing", "Write weights (safetensors) and sizes (JSON) into the folder.")
    pickles = [name for name in files if any(name.endswith(end) for end in PICKLES)]
    expect(not pickles, f"save wrote {', '.join(pickles)}", "Write safetensors and JSON: a pickle runs code when read.")

    paths = codes_of(trained, 3)
    expect(
        close(walk(trained.backbone, batch, paths), walk(other, batch, paths)),
        "the loaded backbone gives other logits than the saved one",
        "Save every weight and size; put the network into eval mode after fit and load.",
    )


@check("backbone")
def the_same_seed_gives_the_same_weights(subject: Subject) -> None:
    """Two trainings with equal examples and seed end with the same logits."""
    one, other = (fit(subject, seed=3, most=FEW) for _ in range(2))
    expect(
        alike(subject, one, other),
        "two trainings with seed 3 give different logits",
        "Seed initialisation, dropout and the order of examples from ctx.seed.",
    )


def alike(subject: Subject, one: networks.Fitted, other: networks.Fitted) -> bool:
    """Whether two trained backbones give the same logits."""
    paths, queries = codes_of(one, 3), queries_of(subject)
    logits = (walk(fitted.backbone, fitted.template.render(queries), paths) for fitted in (one, other))
    return close(*logits)


@check("backbone")
def global_randomness_is_left_alone(subject: Subject) -> None:
    """Training neither draws from nor seeds the global generators of random, NumPy and torch."""
    without_global_randomness(lambda: fit(subject, most=FEW), "fit")


@check("backbone")
def no_held_out_data_is_read(subject: Subject) -> None:
    """The backbone opens no data file, and its logits do not change with the held-out interactions on disk."""
    logits_of = []
    for data in (subject.data, subject.data.other_held_out()):
        with folder() as kept, near_held_out(subject, data):
            trained = fit(subject, most=FEW, folder=kept / "backbone", validate=lambda: 0.5)
            logits_of.append(walk(trained.backbone, trained.template.render(queries_of(subject)), codes_of(trained, 3)))
    expect(
        close(*logits_of),
        "other held-out interactions in the data's files gave other logits",
        "Learn from the examples alone: read no data file, by whatever reader.",
    )


@check("backbone")
def an_interrupted_training_resumes(subject: Subject) -> None:
    """A training stopped after its second validation resumes from `ctx.folder` and ends with the same weights.

    Does not apply to a backbone that keeps no checkpoint or does not validate.
    """
    with folder() as here:
        whole = fit(subject, most=FEW, folder=here / "whole", validate=Judge())
        judge = Judge(stop_after=1)
        try:
            fit(subject, most=FEW, folder=here / "cut", validate=judge)
        except Stopped:
            pass
        else:
            raise NotApplicable(f"it validated {judge.calls} times: there is nothing to interrupt")
        resumed = fit(subject, most=FEW, folder=here / "cut", validate=Judge(start=judge.calls - 1))

    if not resumed.report.resumed_from:
        raise NotApplicable("it keeps no checkpoint: an interrupted training starts anew")
    expect(
        alike(subject, whole, resumed),
        f"resumed after epoch {resumed.report.resumed_from}, the weights differ from a training without interruption",
        "Keep weights, optimiser, schedule and best epoch, and draw random numbers from (seed, epoch).",
    )


class Judge:
    """A validation that always rises; stops the training in the call after `stop_after`."""

    def __init__(self, stop_after: int | None = None, start: int = 0) -> None:
        self.stop_after, self.calls = stop_after, start

    def __call__(self) -> float:
        self.calls += 1
        if self.stop_after is not None and self.calls > self.stop_after:
            raise Stopped
        return self.calls / 1000


@check("backbone")
def it_learns_a_planted_pattern(subject: Subject) -> None:
    """Trained on users who cycle through items, it predicts the next one far more often than chance."""
    trained = fitted(subject)
    rate, chance = networks.hits(subject, trained), networks.BEAMS / subject.data.split.n_items
    expect(
        rate >= ABOVE_CHANCE * chance,
        f"hit@{networks.BEAMS} is {rate:.2f} on the planted data, where chance gives {chance:.2f}",
        "Check that targets and source tokens share the index's alphabet, and that training runs long enough.",
    )


@check("backbone")
def parameters_are_counted(subject: Subject) -> None:
    """`parameters_count` counts the trained parameters of embeddings and of everything else."""
    counted = fitted(subject).backbone.parameters_count()
    expect(
        set(counted) == {"embedding", "other"} and all(isinstance(n, int) and n >= 0 for n in counted.values()),
        f"parameters_count gave {dict(counted)}",
        'Give {"embedding": ..., "other": ...}, whole numbers.',
    )
    expect(sum(counted.values()) > 0, "it has no trained parameters", "Count the network's parameters.")
