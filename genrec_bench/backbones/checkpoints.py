"""Checkpoints that transformers reads: every weight comes from the file, and is a number, or none does.

transformers draws a weight that the file lacks at random and says so in its log only. Such a network would count as
pretrained. Knows transformers' loading report, no architecture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genrec_bench.core.files import expand_home
from genrec_bench.errors import UsageError

WRAPPERS = (
    r"^(?:module\.|_orig_mod\.)+"  # before each name where DistributedDataParallel or torch.compile wrapped the model
)
POINTER = b"version https://git-lfs"
SHOWN = 3  # weights named in a message


def load_whole(architecture: Any, name: str, note: Callable[[str], None], *, body: bool = False, **options: Any) -> Any:
    """`architecture.from_pretrained(name, **options)`; UsageError unless file and network have the same weights, all finite.

    Names that a wrapper prefixed are read without the prefix, and `note` is told. With `body`, an encoder is read whose
    heads do not matter: the file may have some, and may lack the network's pooler.
    """
    check_no_pointers(name)
    model, report = _load(architecture, name, options)

    wrapped = [key for key in report["unexpected_keys"] if re.match(WRAPPERS, key)]
    if wrapped:
        model, report = _load(architecture, name, {**options, "key_mapping": {WRAPPERS: ""}})
        note(f"the checkpoint {name!r} was saved from a wrapped model: {wrapped[0]!r} and its like lose their prefix")

    missing, unknown = list(report["missing_keys"]), list(report["unexpected_keys"])
    if body:
        missing, unknown = [key for key in missing if "pooler" not in key], []

    faults = [
        f"{len(keys)} of the network's weights are {what} ({_few(keys)})"
        for what, keys in (
            ("missing", missing),
            ("of another size", [str(key[0]) for key in report["mismatched_keys"]]),
        )
        if keys
    ]
    if unknown:
        faults.append(f"{len(unknown)} weights of the file have no place in it ({_few(unknown)})")
    if faults:
        raise UsageError(
            f"the checkpoint {name!r} is not a whole {type(model).__name__}: {'; '.join(faults)}. Save the model itself with "
            "save_pretrained, not a part of it or a wrapper around it",
            name=name,
        )

    broken = [key for key, weight in model.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise UsageError(
            f"the checkpoint {name!r} holds NaN or infinity in {len(broken)} weights ({_few(broken)}): its training failed, or "
            "the file is damaged. Take an earlier one, or download it again",
            name=name,
        )
    return model


def _load(architecture: Any, name: str, options: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """The model and transformers' report on its weights, which otherwise goes to the terminal as a table."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        return architecture.from_pretrained(name, output_loading_info=True, **options)  # type: ignore[no-any-return]
    finally:
        logging.set_verbosity(level)


def check_no_pointers(name: str) -> None:
    """UsageError if a file of the local folder `name` is only Git LFS's pointer to its content."""
    folder = Path(expand_home(name))
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_file() and path.open("rb").read(len(POINTER)) == POINTER:
            raise UsageError(
                f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` in its repository, or download it",
                name=name,
            )


def _few(keys: Any) -> str:
    keys = sorted(keys)
    return ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
