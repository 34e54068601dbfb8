"""Decoding with beams as a tree of positions against beams as rows: same weights, same prompts, same decoder.

    python benchmarks/layouts.py [rounds]

Checks first that both give the same items, then prints, per prompt length and beam count, the median CPU seconds of each
for one batch of users, and the median of the ratios of each round.
"""

import statistics
import sys
import time

import numpy as np
import torch
from genrec_causal_lm.backbone import CausalConfig, CausalLM
from genrec_causal_lm.layouts import LAYOUTS

from genrec_bench.api import Index, Sources, TrieDecoder, digits

USERS, ITEMS, BASE, WIDTH = 64, 1_500, 50, 3


def main(rounds: int) -> None:
    rng = np.random.default_rng(0)
    index = Index.from_labels(digits(rng.permutation(BASE**WIDTH)[:ITEMS], BASE, WIDTH))
    decoder = TrieDecoder()
    backbone = CausalLM(CausalConfig())
    backbone.begin(index.n_tokens)
    print(f"{backbone.size()}, {USERS} users, {ITEMS} items, codes of {WIDTH}, {torch.get_num_threads()} thread(s)")
    for prompt in (4, 60):
        tokens = rng.integers(index.n_tokens, size=USERS * prompt).astype(np.int32)
        batch = Sources(tokens, tokens * 0, tokens * 0 + 1, np.arange(USERS + 1, dtype=np.int64) * prompt)
        for beams in (20, 50):
            seconds: dict[str, list[float]] = {"tree": [], "rows": []}
            generations = {}
            for round_number in range(rounds + 1):  # the first one warms up
                for name in seconds:
                    backbone.layout = LAYOUTS[name]
                    began = time.process_time()
                    generations[name] = decoder.generate(backbone, batch, index, beams=beams)
                    if round_number:
                        seconds[name].append(time.process_time() - began)
            same = (generations["tree"].items == generations["rows"].items).mean()
            ratio = statistics.median(r / t for r, t in zip(seconds["rows"], seconds["tree"], strict=True))
            tree, rows = (statistics.median(seconds[name]) for name in ("tree", "rows"))
            print(
                f"prompt {prompt:3}, beams {beams}: same items {same:.2%}, tree {tree:.3f} s, rows {rows:.3f} s, rows/tree {ratio:.2f}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
