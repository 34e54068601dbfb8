"""`python -m tests.campaign`: runs the campaign, prints its table in Markdown, and fails if there is a fault."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from . import flips, kills, materials, plugins, readers
from .engine import Case, Tally, run_all

GOALS = {"kills": 300, "flips": 300, "mutations": 10_000, "plugins": 60}


def all_cases(parts: list[str], scale: float, scratch: Path) -> list[Case]:
    """The cases of some parts; `scale` 1 reaches every goal."""
    found: list[Case] = []
    for part in parts:
        count = int(GOALS[part] * scale)
        match part:
            case "kills":
                found += kills.cases(count, scratch / "counting")
            case "flips":
                found += flips.cases(count)
            case "mutations":
                found += readers.cases(count)
            case "plugins":
                found += thinned(plugins.cases(), scale)
    return found


def thinned(cases: list[Case], share: float) -> list[Case]:
    """A share of the cases, spread evenly; at least one."""
    count = max(1, min(len(cases), round(len(cases) * share)))
    return [cases[round(number * (len(cases) - 1) / max(count - 1, 1))] for number in range(count)]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--all", action="store_true", help="reach every goal; without it, a tenth of the cases")
    parser.add_argument("--part", action="append", choices=[*GOALS], help="one part only; repeatable")
    parser.add_argument("--kind", help="only kinds whose name holds this")
    parser.add_argument(
        "--case", action="append", help="one case by its name, such as mutations/events.csv/17; repeatable"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", action="store_true", help="print a row per kind too")
    parser.add_argument("--verbose", action="store_true", help="say how every case ended")
    asked = parser.parse_args()

    began, tally = time.monotonic(), Tally()
    parts = asked.part or list(dict.fromkeys(name.partition("/")[0] for name in asked.case or [])) or [*GOALS]
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        scratch = Path(folder).resolve()
        os.environ["OMP_NUM_THREADS"] = "1"
        materials.make(scratch / "made")
        cases = all_cases(parts, 1.0 if asked.all or asked.case else 0.1, scratch)
        cases = [
            case for case in cases if (asked.kind or "") in case.kind and (not asked.case or case.name in asked.case)
        ]
        run_all(cases, asked.seed, scratch / "work", tally, say, verbose=asked.verbose)

    if asked.kinds:
        print(tally.markdown(by_kind=True), end="\n\n")
    print(f"seed {asked.seed}, {time.monotonic() - began:.0f} seconds in all\n")
    print(tally.markdown())
    return 1 if tally.faults else 0


def say(text: str) -> None:
    """A line on standard error, at once."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
