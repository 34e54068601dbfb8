"""Finds RecBole: the version that this bridge was built for, with everything that it imports. Imports none of it.

Ignores RecBole's own metadata: of its pins, `ray<=2.6.3` has no wheel for Python 3.12 and later, and nothing that runs
here imports ray.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from genrec_bench.api import NeedsMissing, UsageError

VERSION = "1.2.1"
INSTALL = f"-m pip install --no-deps recbole=={VERSION}"
IMPORTS = {  # what RecBole imports when one of its models is trained: module -> distribution
    "colorama": "colorama",
    "colorlog": "colorlog",
    "numpy": "numpy",
    "pandas": "pandas",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "tensorboard": "tensorboard",
    "texttable": "texttable",
    "torch": "torch",
    "tqdm": "tqdm",
    "yaml": "pyyaml",
}


@functools.lru_cache(maxsize=8)
def locate(python: str | None) -> Path:
    """The folder of the interpreter's RecBole.

    NeedsMissing, with the command to install it, if it is missing, another version, or lacks what it imports;
    UsageError if there is no such interpreter.
    """
    origin, lacking = _look(python)
    if not origin:
        raise NeedsMissing(
            f"RecBole is not installed: {python or sys.executable} {INSTALL} (without its own pins: one of them, ray, has "
            "no wheel for Python 3.12 and later, and is not used)",
            needs="recbole",
        )

    folder = Path(origin).parent
    version = re.search(r'^__version__ *= *"([^"]+)"', (folder / "__init__.py").read_text(), re.MULTILINE)
    if version is None or version[1] != VERSION:
        raise NeedsMissing(
            f"RecBole {version[1] if version else 'of unknown version'} is installed, this bridge patches {VERSION}: "
            f"{python or sys.executable} {INSTALL}",
            needs="recbole",
        )

    if lacking:
        packages = " ".join(IMPORTS[module] for module in lacking)
        raise NeedsMissing(
            f"RecBole imports {', '.join(lacking)}, which is not installed: {python or sys.executable} -m pip install {packages}",
            needs=lacking,
        )
    return folder


def _look(python: str | None) -> tuple[str, list[str]]:
    """Where the interpreter's RecBole is (empty: nowhere), and which modules the interpreter does not find."""
    if python is None:
        spec = find_spec("recbole")
        return spec.origin or "" if spec else "", [name for name in IMPORTS if find_spec(name) is None]

    code = (
        "from importlib.util import find_spec as f; s = f('recbole'); print(s.origin if s else ''); "
        f"print(*[name for name in {list(IMPORTS)} if f(name) is None])"
    )
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"baseline.python = {python!r} is not a Python interpreter that runs: {error}") from None
    origin, lacking, *_ = [*done.stdout.splitlines(), "", ""]
    return origin.strip(), lacking.split()


def parameters_of(model: str, folder: Path) -> set[str]:
    """The parameters that RecBole reads for a model: the keys of its property files."""
    files = ["overall.yaml", "dataset/sample.yaml", "quick_start_config/sequential.yaml", f"model/{model}.yaml"]
    text = "\n".join((folder / "properties" / file).read_text(encoding="utf-8") for file in files)
    return set(re.findall(r"^(\w+) *:", text, re.MULTILINE))
