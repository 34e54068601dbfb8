"""The RQ-VAE's training: codes die and come back, the best epoch is kept, a blow-up is one line."""

import numpy as np
import pytest
import torch
from genrec_semantic.rq_vae import ResidualVae, ResidualVaeConfig
from genrec_semantic.rq_vae_net import RqVae
from semantic_data import films

from genrec_bench.api import Diverged, IndexerContext

WIDTH = 12


def vectors(n=300, seed=0):
    """Rows around twenty centres, away from the origin."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, WIDTH)) + 3
    return (centres[np.arange(n) % 20] + rng.normal(size=(n, WIDTH)) * 0.1).astype(np.float32)


def quantise(x, **options):
    small = {"levels": 2, "codebook_size": 32, "latent": 8, "hidden": (32,), "epochs": 40, "batch_size": 64}
    config = ResidualVaeConfig(**{**small, **options})
    return ResidualVae(config).quantise(x, np.ones(len(x), np.int64), IndexerContext())


def dead(quantised):
    return sum(quantised.size - len(np.unique(level)) for level in quantised.labels.T)


def test_codes_nobody_chooses_are_drawn_anew():
    left_alone = quantise(vectors(), kmeans_init=False, revive=False)
    revived = quantise(vectors(), kmeans_init=False, revive=True)
    assert left_alone.facts["codes_revived"] == 0 and revived.facts["codes_revived"] > 0
    assert dead(left_alone) > 32  # of 64: the codebook has collapsed
    assert dead(revived) < dead(left_alone) / 3


def test_kmeans_gives_every_code_of_the_first_level_an_item_at_the_start():
    random, started = (quantise(vectors(), kmeans_init=init, revive=False, epochs=1) for init in (False, True))
    used = [len(np.unique(quantised.labels[:, 0])) for quantised in (random, started)]
    assert used[1] > 2 * used[0]


def test_training_lowers_the_reconstruction_error():
    x = vectors()
    errors = [float(((quantise(x, epochs=n).restored - x) ** 2).sum()) for n in (1, 60)]
    assert errors[1] < errors[0] / 3


def test_it_stops_when_the_error_stands_still_and_keeps_the_best_epoch():
    quantised = quantise(vectors(), learning_rate=1e-9, patience=3, epochs=50, revive=False)
    assert quantised.facts == {"epochs": 4, "best_epoch": 1, "codes_revived": 0} | {
        key: quantised.facts[key] for key in ("codebook_size", "latent", "device", "torch")
    }


def test_a_loss_without_end_is_one_line():
    with pytest.raises(Diverged, match=r"lower indexer\.learning_rate"):
        quantise(vectors(), learning_rate=1e30)


def test_more_codes_than_items_are_cut_to_the_items():
    view, _ = films(per_topic=2)
    index = ResidualVae(ResidualVaeConfig(epochs=2, levels=2)).build(view, IndexerContext())
    assert index.info["codebook_size"] <= 8 and len(index.items) == 8


def test_the_gradient_passes_straight_through_to_the_encoder():
    torch.manual_seed(0)
    net, x = RqVae(WIDTH, (16,), 4, 2, 8), torch.from_numpy(vectors(50))
    loss, _ = net.loss(x, torch.ones(50), commitment=0.0)
    loss.backward()
    assert all(float(layer.grad.abs().sum()) > 0 for layer in net.encoder.parameters())
    assert float(net.codebooks.grad.abs().sum()) > 0


def test_codes_are_the_nearest_at_each_level_and_add_up():
    torch.manual_seed(0)
    net, z = RqVae(WIDTH, (16,), 4, 3, 8), torch.randn(20, 4)
    codes, chosen, given = net.quantise(z)
    left = z
    for level in range(3):
        nearest = torch.cdist(left, net.codebooks[level]).argmin(1)
        assert torch.equal(codes[:, level], nearest) and torch.allclose(given[level], left, atol=1e-6)
        left = left - net.codebooks[level][nearest]
    assert torch.allclose(chosen.sum(0) + left, z, atol=1e-5)
