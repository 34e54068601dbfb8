"""The console script `genrec`, and `python -m genrec_bench`: a Ctrl-C is one line even while the commands are imported."""

import os
import sys

# pydantic and torch would read the metadata of every distribution, and run what some register there. One distribution with
# broken metadata would then end every command, and a number could depend on what else is installed.
NO_PLUGINS = {"PYDANTIC_DISABLE_PLUGINS": "__all__", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}


def main() -> None:
    """See `genrec_bench.cli.main`."""
    for name, value in NO_PLUGINS.items():
        os.environ.setdefault(name, value)
    try:
        from genrec_bench.cli import main as commands

        commands.main()
    except KeyboardInterrupt:
        print("Interrupted: stopped before the end; the same command starts again", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
