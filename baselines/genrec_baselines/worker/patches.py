"""Patches that RecBole 1.2.1 needs on NumPy 2, pandas 3, a current SciPy and torch 2.6+, each with a name.

`apply` runs before `recbole` is imported. Patches that an older library does not need are neither applied nor reported.
`mend` fixes faults in RecBole's own models.
"""

import functools


def apply() -> list[str]:
    """Apply the patches that are needed, and return their names for the record."""
    return [name for name, patch in PATCHES.items() if patch()]


def numpy_names() -> bool:
    """RecBole's `Config` reads `np.float_`, `np.complex_` and `np.unicode_`, which NumPy 2 removed."""
    import numpy as np

    gone = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}
    missing = [name for name in gone if not hasattr(np, name)]
    for name in missing:
        setattr(np, name, gone[name])
    return bool(missing)


def scipy_dok_update() -> bool:
    """LightGCN and SGL fill a `dok_matrix` through `_update`, which SciPy removed."""
    from scipy.sparse import dok_matrix

    if hasattr(dok_matrix, "_update"):
        return False
    dok_matrix._update = lambda matrix, values: matrix._dict.update(values)
    return True


def pandas_agg_len() -> bool:
    """RecBole computes the lengths of lists with `Series.agg(len)`; in pandas 3 that is the length of the column."""
    import pandas as pd

    original = pd.Series.agg
    if not isinstance(pd.Series([[1], [2, 3]]).agg(len), int):
        return False

    @functools.wraps(original)
    def agg(self, func=None, *args, **kwargs):
        return self.map(len) if func is len else original(self, func, *args, **kwargs)

    pd.Series.agg = agg
    return True


def torch_load_whole_checkpoints() -> bool:
    """RecBole reads its own checkpoints, objects included; torch 2.6 reads only weights by default."""
    import torch

    original = torch.load

    @functools.wraps(original)
    def load(*args, **kwargs):
        return original(*args, **{"weights_only": False, **kwargs})

    torch.load = load
    return True


PATCHES = {
    "numpy.float_, complex_, unicode_": numpy_names,
    "scipy.sparse.dok_matrix._update": scipy_dok_update,
    "pandas.Series.agg(len)": pandas_agg_len,
    "torch.load(weights_only=False)": torch_load_whole_checkpoints,
}


def mend(model: str) -> list[str]:
    """Apply the patches of one model, and return their names."""
    if model != "Pop":
        return []
    from recbole.model.general_recommender.pop import Pop

    Pop.calculate_loss = count_every_event
    return ["recbole Pop.calculate_loss: every event counts"]


def count_every_event(self, interaction):
    """RecBole's own method counts batches that contain an item, not the item's interactions."""
    import torch

    items = interaction[self.ITEM_ID]
    self.item_cnt.index_add_(0, items, torch.ones_like(items)[:, None])
    self.max_cnt = torch.max(self.item_cnt, dim=0)[0]
    return torch.nn.Parameter(torch.zeros(1)).to(self.device)
