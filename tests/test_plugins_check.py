"""`genrec plugins check`: one line per check, and nothing that a component does can take the command down."""

import json
from textwrap import dedent

import pytest

from genrec_bench.cli.main import cli
from genrec_bench.testing import CHECKS

MODULE = '''
    """Indexers with manners, and without."""

    import os
    import sys
    import time

    from pydantic.dataclasses import dataclass

    from genrec_bench.indexers.digits import SequentialIndexer


    class Polite(SequentialIndexer):
        """Sound."""


    class Chatty(SequentialIndexer):
        """Prints a lot."""

        def build(self, train, ctx):
            print('{"event": "end"}')
            return super().build(train, ctx)


    class Crashing(SequentialIndexer):
        """Takes its process down where there is little data."""

        def build(self, train, ctx):
            if train.n_items < 3:
                print("out of luck", file=sys.stderr, flush=True)
                os.abort()
            return super().build(train, ctx)


    class Leaving(SequentialIndexer):
        """Leaves at once."""

        def build(self, train, ctx):
            os._exit(0)


    class Hanging(SequentialIndexer):
        """Never comes to an end where there is little data."""

        def build(self, train, ctx):
            while train.n_items == 1:
                time.sleep(1)
            return super().build(train, ctx)


    @dataclass(frozen=True)
    class Choice:
        """Options of which one must be given."""

        base: int
        token_scope: str = "level"


    class Choosy(SequentialIndexer):
        """Needs an option."""

        Config = Choice

        def __init__(self, config=None):
            super().__init__(Choice(4) if config is None else config)
'''
NAMES = ("polite", "chatty", "crashing", "leaving", "hanging", "choosy")


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Runs `genrec plugins check` with an installed distribution of such indexers; exit code, stdout, stderr."""
    (tmp_path / "mannered.py").write_text(dedent(MODULE).lstrip())
    facts = tmp_path / "mannered-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: mannered\nVersion: 1.0\n")
    points = "\n".join(f"{name} = mannered:{name.capitalize()}" for name in NAMES)
    (facts / "entry_points.txt").write_text(f"[genrec_bench.indexers]\n{points}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))

    def call(*words):
        with pytest.raises(SystemExit) as done:
            cli.main(["plugins", "check", *words])
        printed = capsys.readouterr()
        return done.value.code, printed.out, printed.err

    return call


def test_a_sound_component_prints_one_line_per_check(check):
    code, out, err = check("polite")
    *lines, total = out.splitlines()
    assert [line.split() for line in lines] == [["ok", name] for name in CHECKS["indexer"]]
    assert total == f"indexer polite (mannered 1.0): {len(lines)} ok, 0 failed, 0 skipped"
    assert (code, err) == (0, "")


def test_a_crash_is_a_failed_check_and_the_others_are_run(check):
    code, out, _ = check("crashing")
    failed = [line for line in out.splitlines() if line.startswith("failed")]
    assert code == 1
    assert failed == [
        "failed   tiny_data_is_indexed: indexer 'crashing' (mannered) fails tiny_data_is_indexed: its process was killed "
        "by SIGABRT (out of luck)"
    ]
    assert len(out.splitlines()) == len(CHECKS["indexer"]) + 1


def test_a_component_that_leaves_early_fails_and_the_rest_is_left_out(check):
    code, out, _ = check("leaving", "--json")
    found = json.loads(out)
    assert (code, found["ok"], found["failed"]) == (1, 1, 1)
    (failed,) = [row for row in found["checks"] if row["outcome"] == "failed"]
    assert failed["said"].endswith("its process ended by itself (exit code 0)")
    assert found["checks"][-1]["said"] == f"left out: {failed['check']} failed"


@pytest.mark.slow
def test_a_component_that_hangs_is_stopped(check):
    code, out, _ = check("hanging", "--timeout", "15")
    assert code == 1
    assert "fails tiny_data_is_indexed: it took longer than 15 s" in out


def test_what_a_component_prints_is_not_mistaken_for_a_result(check):
    code, out, _ = check("chatty", "--json")
    assert (code, json.loads(out)["ok"]) == (0, len(CHECKS["indexer"]))


def test_an_option_that_must_be_given_is_asked_for_and_can_be_set(check):
    code, out, err = check("choosy")
    assert (code, out) == (2, "")
    assert err == "ConfigError: indexer.base must be given: --set indexer.base=...\n"
    code, out, _ = check("choosy", "--set", "indexer.base=3", "--json")
    assert (code, json.loads(out)["options"]) == (0, {"indexer.base": "3"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["polite", "--set", "base"], "write OPTION=VALUE"),
        (["polite", "--set", "bsae=3"], "Did you mean 'base'?"),
        (["polite", "--set", "decoder.base=3"], "only options of this indexer"),
        (["poltie"], "Did you mean 'polite'?"),
    ],
)
def test_a_wrong_request_is_one_line(check, words, said):
    code, out, err = check(*words)
    assert (code, out) == (2, "")
    assert said in err and err.count("\n") == 1
