"""The network of the RQ-VAE: encoder, residual codebooks, decoder. Knows tensors only.

Only the constructor draws from torch's global random state, which the caller forks.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RqVae(nn.Module):
    """From vectors `(b, d)` to `levels` codes each, and back. `codebooks` is `(levels, size, latent)`."""

    def __init__(self, width: int, hidden: tuple[int, ...], latent: int, levels: int, size: int) -> None:
        super().__init__()
        self.encoder = mlp(width, *hidden, latent)
        self.decoder = mlp(latent, *reversed(hidden), width)
        self.codebooks = nn.Parameter(torch.randn(levels, size, latent) / latent**0.5)

    def quantise(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The nearest codes to `z` `(b, latent)`, level by level: codes `(b, levels)` and their vectors `(levels, b, latent)`.

        Also returns what each level was given to describe, `(levels, b, latent)`, which carries the encoder's gradient.
        """
        residual, codes, chosen, given = z, [], [], []
        for book in self.codebooks:
            nearest = distances(residual.detach(), book.detach()).argmin(1)
            codes.append(nearest)
            chosen.append(book[nearest])
            given.append(residual)
            residual = residual - chosen[-1].detach()
        return torch.stack(codes, 1), torch.stack(chosen), torch.stack(given)

    def loss(self, x: Tensor, weights: Tensor, commitment: float) -> tuple[Tensor, Tensor]:
        """The weighted mean of reconstruction, codebook and commitment loss for `x` `(b, d)`, and the codes chosen."""
        z = self.encoder(x)
        codes, chosen, given = self.quantise(z)
        described = z + (chosen.sum(0) - z).detach()  # straight-through: passes the decoder's gradient to the encoder
        reconstruction = (self.decoder(described) - x).square().sum(1)
        codebook = (chosen - given.detach()).square().sum((0, 2))
        commit = (given - chosen.detach()).square().sum((0, 2))
        losses = reconstruction + codebook + commitment * commit
        return (losses * weights).sum() / weights.sum(), codes

    @torch.no_grad()
    def describe(self, x: Tensor, batch: int = 4096) -> tuple[Tensor, Tensor]:
        """Codes `(n, levels)` of all rows of `x`, and the rows that the codes describe, `(n, d)`."""
        codes, restored = [], []
        for part in x.split(batch):
            code, chosen, _ = self.quantise(self.encoder(part))
            codes.append(code)
            restored.append(self.decoder(chosen.sum(0)))
        return torch.cat(codes), torch.cat(restored)


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def distances(rows: Tensor, book: Tensor) -> Tensor:
    """Squared distances minus the rows' squares, `(b, size)`: the same order with one product less."""
    return book.square().sum(1) - 2 * F.linear(rows, book)
