"""The T5 of transformers as re-runs of TIGER train it: every prefix of a user is a row of its own.

TIGER (Rajput et al. 2023, arXiv 2305.05065): 4 + 4 layers, 6 heads of 64 numbers, d_model 128, d_ff 1,024, codes of four
tokens from 256 each. Every row is padded to the longest history that is shown, whatever its own length; batches are drawn
at random, numbers are fp32, AdamW is PyTorch's default. Its codes are drawn at random: they do not change the time of a step.
"""

from __future__ import annotations

import numpy as np
import torch

from genrec_bench.api import TrainView
from genrec_bench.core.arrays import spread
from genrec_speed.hf import transformers

CODE, ALPHABET = 4, 256  # tokens of a code, and how many there are for each of its places
SHOWN = 20  # items of history: 80 tokens
VOCABULARY = CODE * ALPHABET + 2  # and the padding, which also starts; and the end
BATCH = 256


class TigerLoop:
    """Trains TIGER's T5 on random batches of the prefixes of the users' sequences."""

    def __init__(self, train: TrainView, device: str = "cpu", batch_size: int = BATCH) -> None:
        hf = transformers()
        config = hf.T5Config(
            vocab_size=VOCABULARY,
            d_model=128,
            d_kv=64,
            d_ff=1024,
            num_layers=4,
            num_decoder_layers=4,
            num_heads=6,
            dropout_rate=0.1,
            pad_token_id=0,
            eos_token_id=VOCABULARY - 1,
            decoder_start_token_id=0,
        )
        torch.manual_seed(0)
        self.model = hf.T5ForConditionalGeneration(config).to(device).train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4)

        self.rng, self.batch_size, self.device = np.random.default_rng(0), batch_size, device
        digits = self.rng.integers(ALPHABET, size=(train.n_items, CODE))
        self.codes = digits + np.arange(CODE) * ALPHABET + 1
        self.sequences = train.sequences
        first = self.sequences.offsets[:-1][self.sequences.rows]
        self.ends = np.flatnonzero(np.arange(len(first)) > first)  # a row each: all but a user's first item
        self.starts = np.maximum(first[self.ends], self.ends - SHOWN)

    def step(self) -> torch.Tensor:
        """Learn from one batch; the mean loss of a target token."""
        rows = self.rng.choice(len(self.ends), self.batch_size)
        ids, mask, labels = (torch.from_numpy(part).to(self.device) for part in self.batch(rows))
        loss = self.model(input_ids=ids, attention_mask=mask, labels=labels).loss
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def batch(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Token ids and attention mask (rows, `SHOWN` x `CODE`) and labels (rows, `CODE`) of some rows."""
        lengths = self.ends[rows] - self.starts[rows]
        real = np.arange(SHOWN) < lengths[:, None]
        history = spread(self.starts[rows], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

        ids = np.zeros((len(rows), SHOWN, CODE), np.int64)
        ids[real] = self.codes[self.sequences.values[history]]
        mask = np.repeat(real.astype(np.int64), CODE, axis=1)
        return ids.reshape(len(rows), -1), mask, self.codes[self.sequences.values[self.ends[rows]]]
