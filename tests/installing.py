"""Build and install a package into a folder of its own, and run commands that see it, as tests do that try plugins."""

import os
import subprocess
import sys
from pathlib import Path


def build(source: Path, wheels: Path) -> Path:
    """The wheel that is built from `source` into the new folder `wheels`; nothing is downloaded."""
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, source])
    (wheel,) = wheels.glob("*.whl")
    return wheel


def install(source: Path, site: Path) -> None:
    """Build a wheel from `source` and install it into `site`; nothing is downloaded."""
    wheel = build(source, site.with_name(site.name + "-wheels"))
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-compile"]
    run([sys.executable, "-m", "pip", "install", *options, "--target", site, wheel])


def run(command: list, cwd: Path | None = None, site: Path | None = None) -> str:
    """Run a command that must succeed, with what lies in `site` installed; its standard output."""
    setting = {"OMP_NUM_THREADS": "1"} if site is None else {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(site)}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env={**os.environ, **setting}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def distribution(site: Path, name: str, points: dict[str, str], code: str) -> None:
    """Lay out an installed distribution by hand: entry points such as `{"baselines": "mine"}`, all for the class `X`."""
    facts = site / f"{name}-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = [f"[genrec_bench.{group}]\n{point} = {name}:X\n" for group, point in points.items()]
    (facts / "entry_points.txt").write_text("".join(groups))
    (site / f"{name}.py").write_text(code)
