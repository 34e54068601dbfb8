"""Compare settings of one decoder on *validation*, over the weights that a run of the same system has cached.

    python on_validation.py --task direct --decoder debiased alpha=0 alpha=0.1 alpha=0.25

Prints, per setting, what a run's record has (policy `mask`), and: `items`, how many different ones stand in anybody's
first ten; `events`, how often the items of the first tens were met in training, on average; `first`, how many different
first tokens the list of a user has; `CPU ms`, processor time of the search per user. Test is not looked at, so an option
may be chosen by this.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from genrec_bench.runs.loading import load_data

from genrec_bench import RunSpec
from genrec_bench.core.progress import Quiet
from genrec_bench.host import registry
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import Backbone, Decoder, DecoderContext
from genrec_bench.protocol import scores, validity
from genrec_bench.protocol.split import train_view
from genrec_bench.runs.generator import make_index, search, train
from genrec_bench.runs.run import Run, resolve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--indexer", default="sci")
    parser.add_argument("--backbone", default="lightlm")
    parser.add_argument("--task", default="direct", choices=("direct", "sequential"))
    parser.add_argument("--decoder", required=True)
    parser.add_argument("--beams", type=int, default=50)
    parser.add_argument("settings", nargs="*", default=[""], metavar="KEY=VALUE[,KEY=VALUE]")
    asked = parser.parse_args()

    system = {"indexer": asked.indexer, "backbone": asked.backbone, "decoder": asked.decoder}
    spec = resolve(RunSpec(dataset=asked.dataset, task=asked.task, beams=asked.beams, **system))
    data, split = load_data(spec, data_dir=None, progress=Quiet())
    with tempfile.TemporaryDirectory() as folder:
        this = Run(spec, Path(folder), data, split, "cpu", False, Quiet())
        index, _ = make_index(this)
        backbone: Backbone = this.component("backbone")
        template = backbone.template(asked.task, index)
        train(this, backbone, template, index)
    view, cases = train_view(data, split), split.validation
    counts = np.bincount(view.sequences.values, minlength=view.n_items)
    print(f"{asked.decoder} on validation, {asked.dataset}, {asked.task}, {len(cases):,} cases, {asked.beams} beams")
    columns = ("hit@10", "ndcg@10", "fill@10", "certified@10", "items", "events", "first", "CPU ms")
    print(f"{'setting':22}", *(f"{column:>12}" for column in columns))
    for setting in asked.settings:
        options = dict(pair.split("=") for pair in setting.split(",") if pair)
        cls = registry.load("decoder", asked.decoder)
        decoder: Decoder = cls(make_config(cls.Config, options, "decoder"))
        decoder.prepare(view, DecoderContext(spec.seed))
        queries = split.queries(cases)
        began = time.process_time()
        found, _ = search(backbone, decoder, template, index, queries, asked.beams, exclude=True)
        seconds = time.process_time() - began
        ranking = validity.ranking_from(found, depth=asked.beams, exclude=queries.history)
        metrics, _ = scores.score(ranking, cases.target)
        told = validity.validity(found, queries.history)
        top = ranking.items[:, :10][ranking.items[:, :10] >= 0]
        firsts = [len(np.unique(row[row >= 0])) for row in found.tokens[:, :, 0]]
        accuracy = [f"{metrics[key]:12.4f}" for key in columns[:2]] + [f"{told[key]:12.1%}" for key in columns[2:4]]
        spread = [f"{len(np.unique(top)):12,}", f"{counts[top].mean():12.1f}", f"{np.mean(firsts):12.1f}"]
        print(f"{setting or 'defaults':22}", *accuracy, *spread, f"{1000 * seconds / len(cases):12.1f}", flush=True)


if __name__ == "__main__":
    main()
