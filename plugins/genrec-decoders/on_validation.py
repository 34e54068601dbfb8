"""Compare settings of one decoder on *validation*, over the weights that a run of the same system has cached.

    python on_validation.py --task direct --decoder debiased alpha=0 alpha=0.1 alpha=0.25

Prints, per setting, accuracy (policy `mask`), how many items stand in anybody's first ten, how often these were met in
training, and how many different first code tokens a user's whole list has. Test is not looked at, so an option may be
chosen by it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from genrec_bench import RunSpec, registry
from genrec_bench.config import make_config
from genrec_bench.contracts import Backbone, Context, Decoder, Quiet
from genrec_bench.generator_run import make_index, search, train
from genrec_bench.loading import load_data
from genrec_bench.metrics import scores, validity
from genrec_bench.protocol import train_view
from genrec_bench.runner import Run, resolve


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
    print(
        "setting                       hit@10  ndcg@10  fill@10  certified@10  items of all  events per item  first tokens"
    )
    for setting in asked.settings:
        options = dict(pair.split("=") for pair in setting.split(",") if pair)
        cls = registry.load("decoder", asked.decoder)
        decoder: Decoder = cls(make_config(cls.Config, options, "decoder"))
        decoder.prepare(view, Context(spec.seed))
        queries = split.queries(cases)
        found, _ = search(backbone, decoder, template, index, queries, asked.beams, exclude=True)
        ranking = validity.ranking_from(found, depth=asked.beams, exclude=queries.history)
        metrics, _ = scores.score(ranking, cases.target)
        told = validity.validity(found, queries.history)
        top = ranking.items[:, :10][ranking.items[:, :10] >= 0]
        first = np.where(found.items >= 0, found.tokens[:, :, 0], -1)
        spread = np.mean([len(np.unique(row[row >= 0])) for row in first])
        print(
            f"{setting or 'defaults':28}  {metrics['hit@10']:.4f}   {metrics['ndcg@10']:.4f}  {told['fill@10']:7.1%}"
            f"  {told['certified@10']:12.1%}  {len(np.unique(top)):5,} {len(np.unique(top)) / view.n_items:6.1%}"
            f"  {counts[top].mean():15.1f}  {spread:12.1f}"
        )


if __name__ == "__main__":
    main()
