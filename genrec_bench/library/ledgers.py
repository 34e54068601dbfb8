"""The trials of tuning as an object."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec_bench.core.files import expand_home
from genrec_bench.core.frames import data_frame
from genrec_bench.errors import RecordError
from genrec_bench.library.shown import html_table
from genrec_bench.tuning.ledger import SCORE, Trial, read_ledger

if TYPE_CHECKING:
    import pandas as pd

FACTS = ("system", "dataset", "task", "search", "trial", "status", SCORE, "seconds")


class LoadedLedger:
    """All `trials` of a ledger, in its order: the settings `params`, the validation score, and what identifies the search."""

    def __init__(self, trials: list[Trial]) -> None:
        self.trials = trials

    def __len__(self) -> int:
        return len(self.trials)

    def to_pandas(self) -> pd.DataFrame:
        """One row per trial: its facts, and a column for every option that some trial varied. NeedsMissing without pandas."""
        options = dict.fromkeys(name for trial in self.trials for name in trial["params"])
        columns: dict[str, list[Any]] = {fact: [trial.get(fact) for trial in self.trials] for fact in FACTS}
        columns |= {name: [trial["params"].get(name) for trial in self.trials] for name in options}
        return data_frame(columns)

    def __repr__(self) -> str:
        systems = sorted({str(trial.get("system")) for trial in self.trials})
        return f"<ledger: {len(self)} trials of {', '.join(systems)}>"

    def _repr_html_(self) -> str:
        rows = [[str(trial.get(fact, "")) for fact in FACTS] + [str(trial["params"])] for trial in self.trials]
        return html_table([*FACTS, "settings"], rows)


def load_ledger(path: Path | str) -> LoadedLedger:
    """The trials that `genrec tune` wrote to `path`. RecordError if there are none, or for a line that is not a trial.

    >>> load_ledger("ledger.jsonl").to_pandas().sort_values("validation_ndcg@10")  # doctest: +SKIP
    """
    path = Path(expand_home(path))
    trials = read_ledger(path)
    if not trials:
        raise RecordError(f"no trials in {path}: `genrec tune` writes them", path=path)
    return LoadedLedger(trials)
