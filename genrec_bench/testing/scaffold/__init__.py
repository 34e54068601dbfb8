"""Writes a new plugin's package: a small working component, its entry point, its tests and its README.

The files come from `templates/`, with `$name`s to fill in. Imports neither torch nor NumPy.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template

from genrec_bench import __version__
from genrec_bench.errors import OutputError, UsageError
from genrec_bench.host import modules, registry

VALID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
GENERATOR_PARTS = ("indexer", "backbone", "decoder")  # are run together, which needs torch
RUN = {  # how to try a component of each kind
    "indexer": "genrec run --indexer {} --backbone lightlm --profile tiny",
    "backbone": "genrec run --indexer sci --backbone {}",
    "decoder": "genrec run --indexer sci --backbone lightlm --profile tiny --decoder {}",
    "dataset": "genrec run --dataset {} --baseline popularity",
    "baseline": "genrec run --baseline {}",
}


def new_package(kind: str, name: str, out: Path | None = None) -> tuple[Path, list[str]]:
    """Write the package of a component; return its folder and the files in it.

    UsageError if the name is malformed, or taken by an installed component or module; OutputError if the folder (`out`, or
    `genrec-NAME` here) is not empty.
    """
    _check_name(kind, name)
    folder = Path(f"genrec-{name}") if out is None else out
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists and is not empty: choose another folder with --out", path=str(folder))

    values = words(kind, name)
    files = {
        "README.md": "README.md.txt",
        "pyproject.toml": "pyproject.toml.txt",
        f"{values['module']}.py": f"{kind}.py.txt",
        f"tests/test_{values['module']}.py": f"test_{kind}.py.txt",
    }
    try:
        for target, template in files.items():
            path = folder / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_read(template).substitute(values), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}", path=str(folder)) from error
    return folder, list(files)


def words(kind: str, name: str) -> dict[str, str]:
    """The values for the templates."""
    camel = "".join(part.capitalize() for part in name.split("-"))
    suffix = kind.capitalize()
    has_suffix = camel.endswith(suffix) and camel != suffix

    return {
        "name": name,
        "kind": kind,
        "a_kind": f"an {kind}" if kind[0] in "aeiou" else f"a {kind}",
        "distribution": f"genrec-{name}",
        "module": f"genrec_{name.replace('-', '_')}",
        "class_name": camel if has_suffix else camel + suffix,
        "version": __version__,
        "extra": "[torch]" if kind in GENERATOR_PARTS else "",
        "run": RUN[kind].format(name),
    }


def _check_name(kind: str, name: str) -> None:
    if not VALID.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid name: use lower-case letters, digits and single hyphens, a letter first, "
            "such as 'by-popularity'",
            name=name,
        )

    for info in registry.list_components(kind):
        if info.name == name:
            raise UsageError(
                f"{info.distribution} {info.version} already has {words(kind, name)['a_kind']} named {name!r}: choose "
                "another name",
                name=name,
            )

    module = words(kind, name)["module"]
    try:
        modules.top_level(module)
    except modules.NotThere:
        return
    raise UsageError(f"a module {module} is already installed: choose another name than {name!r}", name=name)


def _read(template: str) -> Template:
    return Template(resources.files(__package__).joinpath("templates", template).read_text(encoding="utf-8"))
