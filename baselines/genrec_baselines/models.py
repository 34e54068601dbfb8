"""The RecBole models that are baselines: a small class each, without any code of the model.

A class says for which task the model is, its name in RecBole, which parameters `embedding_size` sets, and what is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from genrec_baselines.baseline import RecBoleBaseline


class Direct(RecBoleBaseline):
    """A model that identifies users by number and learns them from the training part."""

    tasks = ("direct",)
    sizes: ClassVar[tuple[str, ...]] = ("embedding_size",)
    samples_unseen = True


class Sequential(RecBoleBaseline):
    """A model that reads a user's history."""

    tasks = ("sequential",)
    sizes: ClassVar[tuple[str, ...]] = ("embedding_size",)
    fixed: ClassVar[Mapping[str, Any]] = {"train_neg_sample_args": None, "loss_type": "CE"}


class ClosedForm(Direct):
    """A model that counts or solves an equation instead of training: one pass, no negatives."""

    sizes, samples_unseen, uses_gpu = (), False, False
    fixed: ClassVar[Mapping[str, Any]] = {"train_neg_sample_args": None}
    search_space: ClassVar[Mapping[str, Any]] = {}  # no training, and no option in common


class Pop(ClosedForm):
    """Popularity, from RecBole with its counting fixed: every training interaction counts once."""

    model = "Pop"


class ItemKNN(ClosedForm):
    """Item neighbours by cosine similarity (Deshpande and Karypis 2004), from RecBole."""

    model = "ItemKNN"
    search_space: ClassVar[Mapping[str, Any]] = {
        "extra": [
            [f"k={k}", f"shrink={shrink}"] for k in (20, 50, 100, 200, 400) for shrink in (0.0, 10.0, 50.0, 100.0)
        ]
    }


class EASE(ClosedForm):
    """A linear item-to-item model in closed form (Steck 2019, arXiv 1905.03375), from RecBole."""

    model = "EASE"
    search_space: ClassVar[Mapping[str, Any]] = {
        "extra": [[f"reg_weight={weight}"] for weight in (1.0, 10.0, 30.0, 100.0, 250.0, 500.0, 1000.0, 3000.0)]
    }


class BPR(Direct):
    """Matrix factorisation with the pairwise BPR loss (Rendle et al. 2009, arXiv 1205.2618), from RecBole."""

    model = "BPR"


class NeuMF(Direct):
    """Neural matrix factorisation (He et al. 2017, arXiv 1708.05031), from RecBole."""

    model, sizes = "NeuMF", ("mf_embedding_size", "mlp_embedding_size")


class LightGCN(Direct):
    """Graph convolution without weights (He et al. 2020, arXiv 2002.02126), from RecBole."""

    model = "LightGCN"


class SimpleX(Direct):
    """Cosine contrastive loss with many negatives (Mao et al. 2021, arXiv 2109.12613), from RecBole."""

    model = "SimpleX"


class MultiVAE(Direct):
    """Variational autoencoder with a multinomial likelihood (Liang et al. 2018, arXiv 1802.05814), from RecBole."""

    model, sizes, samples_unseen = "MultiVAE", ("latent_dimension",), False
    fixed: ClassVar[Mapping[str, Any]] = {"train_neg_sample_args": None}
    search_space: ClassVar[Mapping[str, Any]] = {  # batches of users: large ones leave few steps per epoch
        **Direct.search_space,
        "train_batch_size": [32, 64, 128, 256, 512],
    }


class SGL(Direct):
    """Self-supervised graph learning (Wu et al. 2021, arXiv 2010.10783), from RecBole."""

    model = "SGL"


class GRU4Rec(Sequential):
    """Recurrent network over the history (Hidasi et al. 2016, arXiv 1511.06939; Tan et al. 2016), from RecBole."""

    model = "GRU4Rec"


class NARM(Sequential):
    """Recurrent network with attention (Li et al. 2017, arXiv 1711.04725), from RecBole."""

    model = "NARM"


class Caser(Sequential):
    """Convolutions over the history (Tang and Wang 2018, arXiv 1809.07426), from RecBole."""

    model = "Caser"


class SASRec(Sequential):
    """Self-attention over the history, softmax cross-entropy (Kang and McAuley 2018, arXiv 1808.09781), from RecBole."""

    model, sizes, item_table = "SASRec", ("hidden_size",), "item_embedding"


class SASRecBPR(SASRec):
    """Self-attention over the history, pairwise BPR loss with one negative (Kang and McAuley 2018), from RecBole."""

    fixed: ClassVar[Mapping[str, Any]] = {"loss_type": "BPR"}


class BERT4Rec(Sequential):
    """Bidirectional self-attention, masked items (Sun et al. 2019, arXiv 1904.06690), from RecBole."""

    model, sizes = "BERT4Rec", ("hidden_size",)


class HGN(Sequential):
    """Hierarchical gating of features and items (Ma et al. 2019, arXiv 1906.09217), from RecBole."""

    model = "HGN"


class SRGNN(Sequential):
    """Graph network over the session (Wu et al. 2019, arXiv 1811.00855), from RecBole."""

    model = "SRGNN"


class CORE(Sequential):
    """Session and items in one space (Hou et al. 2022, arXiv 2204.11067), from RecBole."""

    model = "CORE"


class FDSA(Sequential):
    """Self-attention over items and over their features (Zhang et al. 2019), from RecBole."""

    model, sizes, needs = "FDSA", ("hidden_size",), frozenset({"item_features"})


class S3Rec(Sequential):
    """Self-attention pre-trained on items' attributes (Zhou et al. 2020, arXiv 2008.07873), from RecBole."""

    model, sizes, needs = "S3Rec", ("hidden_size",), frozenset({"item_features"})
