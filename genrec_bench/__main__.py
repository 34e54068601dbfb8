"""`python -m genrec_bench` is `genrec`."""

from genrec_bench.cli.main import main

if __name__ == "__main__":
    main()
