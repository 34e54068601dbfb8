"""Backbones and decoders that break their contract in one way each; `Counting` is the sound backbone that others spoil."""

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import torch
from broken_components import BadDefaults, Thawed, fails

from genrec_bench.backbones.templates import IdTemplate
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.decoders.trie import TrieDecoder
from genrec_bench.host.contracts import FitReport
from genrec_bench.testing import PrefixBackbone

# backbones ------------------------------------------------------------------------------------------------------------


def last_words(sources):
    """The tokens of each source's last word."""
    return [
        tuple(
            sources.tokens[start:end][sources.words[start:end] == 1].tolist()
        )
        for start, end in zip(sources.offsets[:-1], sources.offsets[1:], strict=True)
    ]  # fmt: skip


class Counting(PrefixBackbone):
    """Learns by heart which codes followed a source's last word. Sound, and quick."""

    def __init__(self, config=None):
        super().__init__(0)
        self.table = {}

    def template(self, task, index):
        return IdTemplate(task, index, 20)

    def fit(self, examples, ctx):
        self.n_tokens = examples.n_tokens
        keys = last_words(examples.sources)
        for key, start, end in zip(keys, examples.target_offsets[:-1], examples.target_offsets[1:], strict=True):
            for code in examples.targets[start:end]:
                for place, token in enumerate(code[code >= 0]):
                    prefix = tuple(code[:place].tolist())
                    self.table.setdefault((key, prefix), np.zeros(self.n_tokens, np.float32))[token] += 1
        for epoch in range(3):
            if ctx.validate is not None:
                ctx.validate()
            self.finished(epoch + 1, ctx)
        return FitReport(3, 3)

    def finished(self, epoch, ctx):
        pass

    def logits_after(self, user, prefix):
        counts = self.table.get((user, tuple(prefix)), np.zeros(self.n_tokens, np.float32))
        return np.log(counts + 0.1)

    def start(self, batch):
        return last_words(batch), None

    def save(self, folder):
        folder.mkdir(parents=True)
        rows = [[key, prefix, counts.tolist()] for (key, prefix), counts in self.table.items()]
        (folder / "counts.json").write_text(json.dumps([self.n_tokens, rows]))

    def load(self, folder, device="cpu"):
        self.n_tokens, rows = json.loads((folder / "counts.json").read_text())
        self.table = {(tuple(key), tuple(prefix)): np.array(c, np.float32) for key, prefix, c in rows}

    def parameters_count(self):
        return {"embedding": 0, "other": len(self.table)}


@fails("backbone", "options_are_frozen_and_have_defaults")
class RefusesItsDefaults(Counting):
    Config = BadDefaults

    def __init__(self, config=None):
        super().__init__(config)
        self.config = config or BadDefaults(1)


class WideTokens(IdTemplate):
    def render(self, queries):
        given = super().render(queries)
        return replace(given, tokens=given.tokens.astype(np.int64))


class FirstOnly(IdTemplate):
    def render(self, queries):
        return super().render(queries.take(np.arange(1)))


class Shared(IdTemplate):
    def render(self, queries):
        given = super().render(queries)
        return replace(given, words=given.words + np.int32(len(queries)))


def with_template(name, check, template):
    """A backbone that is sound but for its template."""

    def made(self, task, index):
        return template(task, index, 20)

    return fails("backbone", check)(type(name, (Counting,), {"template": made}))


with_template("Int64Tokens", "a_template_gives_one_source_per_query", WideTokens)
with_template("OneSource", "a_template_gives_one_source_per_query", FirstOnly)
with_template("BatchWords", "a_source_depends_on_its_own_query_only", Shared)


@fails("backbone", "fitting_reports_what_it_did")
class Silent(Counting):
    def fit(self, examples, ctx):
        super().fit(examples, ctx)


def with_logits(name, check, change):
    """A backbone that is sound but for its logits."""

    def advance(self, state, tokens, parents):
        logits, new = Counting.advance(self, state, tokens, parents)
        return change(logits), new

    return fails("backbone", check)(type(name, (Counting,), {"advance": advance}))


with_logits("NotANumber", "logits_have_the_agreed_shape", lambda logits: logits * float("nan"))
with_logits("Flat", "logits_have_the_agreed_shape", lambda logits: logits[:, 0])
with_logits("Double", "logits_have_the_agreed_shape", lambda logits: logits.double())
with_logits("WidthDependent", "padding_slots_change_nothing", lambda logits: logits * logits.shape[1])
with_logits("BatchDependent", "a_batch_is_invisible", lambda logits: logits * len(logits))


@fails("backbone", "candidates_have_their_own_logits")
class IgnoresTheRow(Counting):
    def logits(self, hidden, candidates=None):
        return super().logits(hidden, candidates and replace(candidates, which=torch.zeros_like(candidates.which)))


@fails("backbone", "a_user_without_history_gets_logits")
class NeedsHistory(Counting):
    def start(self, batch):
        if batch.lengths.min() == 0:
            raise IndexError("tuple index out of range")
        return super().start(batch)


@fails("backbone", "a_hypothesis_continues_its_parent")
class IgnoresParents(Counting):
    def advance(self, state, tokens, parents):
        width = 1 if state[1] is None else len(state[1][0])
        slots = torch.arange(parents.shape[1]).clamp(max=width - 1).expand_as(parents)
        return super().advance(state, tokens, slots)


@fails("backbone", "a_state_can_be_used_again")
class ChangesItsState(Counting):
    def advance(self, state, tokens, parents):
        logits, (_, grown) = super().advance(state, tokens, parents)
        if state[1] is None:
            return logits, (state[0], grown)
        for row, new in zip(state[1], grown, strict=True):
            row[:] = new
        return logits, state


@fails("backbone", "saved_weights_give_the_same_logits")
class Forgetful(Counting):
    def load(self, folder, device="cpu"):
        super().load(folder, device)
        self.table = {}


@fails("backbone", "saved_weights_give_the_same_logits")
class Pickling(Counting):
    def save(self, folder):
        super().save(folder)
        torch.save({}, folder / "weights.pt")


@fails("backbone", "the_same_seed_gives_the_same_weights")
class UnseededWeights(Counting):
    def fit(self, examples, ctx):
        report = super().fit(examples, ctx)
        noise = np.random.default_rng().random(self.n_tokens)
        self.table = {key: counts + noise.astype(np.float32) for key, counts in self.table.items()}
        return report


@fails("backbone", "global_randomness_is_left_alone")
class SeedsTorch(Counting):
    def fit(self, examples, ctx):
        torch.manual_seed(ctx.seed)
        return super().fit(examples, ctx)


@fails("backbone", "no_held_out_data_is_read")
class OpensTheData(Counting):
    def fit(self, examples, ctx):
        with suppress(Exception):  # what is caught counts all the same, and so does what is not used
            Path(os.environ.get("GENREC_DATA", "/nowhere"), "planted.inter").read_text()
        return super().fit(examples, ctx)


@fails("backbone", "no_held_out_data_is_read")
class ReadsTheDataUnseen(Counting):
    """Arrow's own reader, which no hook of Python's sees."""

    def fit(self, examples, ctx):
        report = super().fit(examples, ctx)
        if Path("planted.inter").exists():
            with pyarrow.OSFile("planted.inter") as file:
                weight = np.frombuffer(file.read(), np.uint8)[::7].sum() % 97
            self.table = {key: counts + np.float32(weight) for key, counts in self.table.items()}
        return report


@fails("backbone", "an_interrupted_training_resumes")
class ResumesWrongly(Counting):
    def fit(self, examples, ctx):
        resumed = int(ctx.folder is not None and (ctx.folder / "epoch").exists())
        report = super().fit(examples, ctx)
        if resumed:
            self.table = {key: counts * 2 for key, counts in self.table.items()}
        return replace(report, resumed_from=resumed)

    def finished(self, epoch, ctx):
        if ctx.folder is not None:
            ctx.folder.mkdir(parents=True, exist_ok=True)
            (ctx.folder / "epoch").write_text(str(epoch))


@fails("backbone", "it_learns_a_planted_pattern")
class LearnsNothing(Counting):
    def logits_after(self, user, prefix):
        return PrefixBackbone.logits_after(self, user, prefix)


@fails("backbone", "parameters_are_counted")
class Uncounted(Counting):
    def parameters_count(self):
        return {"total": 7}


# decoders -------------------------------------------------------------------------------------------------------------


def with_generations(name, check, change):
    """A trie search whose result is spoilt: `change(found, batch, index, decoder)`."""

    def generate(self, backbone, batch, index, *, beams, exclude=None):
        found = TrieDecoder.generate(self, backbone, batch, index, beams=beams, exclude=exclude)
        return change(found, batch, index)

    return fails("decoder", check)(type(name, (TrieDecoder,), {"generate": generate}))


def turned(found, batch, index):
    return replace(found, tokens=found.tokens[:, ::-1], scores=found.scores[:, ::-1], items=found.items[:, ::-1])


def noisy(rng):
    return lambda found, *_: replace(found, scores=found.scores - rng().random(len(found)).astype(np.float32)[:, None])


with_generations("Mutable", "options_are_frozen_and_have_defaults", lambda found, *_: found).Config = Thawed
with_generations("Narrow", "generations_have_the_agreed_shape", lambda found, *_: replace(
    found, tokens=found.tokens[:, :1], scores=found.scores[:, :1], items=found.items[:, :1]))  # fmt: skip
with_generations("NoMark", "generations_have_the_agreed_shape", lambda found, *_: replace(
    found, items=np.full_like(found.items, -2)))  # fmt: skip
with_generations("Rising", "scores_are_sorted_best_first", turned)
with_generations("Renumbered", "items_are_those_of_the_tokens", lambda found, batch, index: replace(
    found, items=np.where(found.items >= 0, (found.items + 1) % len(index.items), found.items).astype(np.int32)))  # fmt: skip
with_generations("Certain", "the_bound_covers_what_was_missed", lambda found, *_: replace(
    found, bound=np.full_like(found.bound, -np.inf)))  # fmt: skip
with_generations("Random", "the_same_question_has_the_same_answer", noisy(np.random.default_rng))
with_generations(
    "BatchBound", "a_batch_is_invisible", lambda found, *_: replace(found, scores=found.scores - len(found))
)


@fails("decoder", "generations_have_the_agreed_shape")
class BeyondTheParents(TrieDecoder):
    def generate(self, backbone, batch, index, *, beams, exclude=None):
        state = backbone.start(batch)
        zero = torch.zeros(len(batch), 1, dtype=torch.long)
        _, state = backbone.advance(state, zero - 1, zero)
        backbone.advance(state, zero, zero + 1)


@fails("decoder", "excluded_items_are_not_emitted")
class IgnoresExclude(TrieDecoder):
    def generate(self, backbone, batch, index, *, beams, exclude=None):
        return super().generate(backbone, batch, index, beams=beams)


@fails("decoder", "another_index_is_noticed")
class KeepsItsTrie(TrieDecoder):
    def trie(self, index, device):
        if self._built is None or len(self._built[0].items) != len(index.items):
            self._built = index, device, Trie.build(index.items, device)
        return self._built[2]


@fails("decoder", "global_randomness_is_left_alone")
class DrawsFromTorch(TrieDecoder):
    def generate(self, backbone, batch, index, *, beams, exclude=None):
        torch.rand(1)
        return super().generate(backbone, batch, index, beams=beams, exclude=exclude)


@fails("decoder", "no_held_out_data_is_read")
class PeeksWhileSearching(TrieDecoder):
    def generate(self, backbone, batch, index, *, beams, exclude=None):
        for path in Path().glob("planted.npz"):
            np.load(path)
        return super().generate(backbone, batch, index, beams=beams, exclude=exclude)


@fails("decoder", "no_held_out_data_is_read")
class PreparesOnWhatLiesBehind(TrieDecoder):
    weight = 0

    def prepare(self, train, ctx):
        behind = train.sequences.values.base
        self.weight = 0 if behind is None else int(behind @ np.arange(len(behind))) % 97

    def generate(self, backbone, batch, index, *, beams, exclude=None):
        found = super().generate(backbone, batch, index, beams=beams, exclude=exclude)
        return replace(found, scores=found.scores - np.float32(self.weight))


@fails("decoder", "tiny_catalogues_and_many_beams_are_searched")
class NeedsABeamOfItems(TrieDecoder):
    def generate(self, backbone, batch, index, *, beams, exclude=None):
        torch.zeros(len(index.items)).topk(beams)
        return super().generate(backbone, batch, index, beams=beams, exclude=exclude)
