"""The console script `genrec`, and `python -m genrec_bench`: a Ctrl-C is one line even while the commands are imported."""

import sys


def main() -> None:
    """See `genrec_bench.cli.main`."""
    try:
        from genrec_bench.cli import main as commands

        commands.main()
    except KeyboardInterrupt:
        print("Interrupted: stopped before the end; the same command starts again", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
