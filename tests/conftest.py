"""Shared by all tests: a cache of their own, the real data where there is some, and a small planted data set."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

from genrec_bench.host.sealing import watch

settings.register_profile("steady", deadline=None)  # no test fails because the machine is busy
settings.load_profile("steady")

DATA = os.environ.get("GENREC_DATA")


@pytest.fixture(autouse=True)
def watched():
    """Runs in this process are sealed as those of the command line are, and no test answers for what another read."""
    watch()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Nothing of the person's cache is read or changed. Set for the whole session: subprocesses inherit it."""
    before = os.environ.get("GENREC_CACHE")
    os.environ["GENREC_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["GENREC_CACHE"]
    else:
        os.environ["GENREC_CACHE"] = before


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the S3-Rec files."""
    if not DATA:
        pytest.skip("GENREC_DATA is not set: no folder with the S3-Rec data files")
    return Path(DATA)


@pytest.fixture(scope="session")
def movielens():
    """ML-100K is installed with recbole."""
    if importlib.util.find_spec("recbole") is None:
        pytest.skip("recbole, which carries ML-100K, is not installed")


@pytest.fixture
def planted_file(tmp_path) -> Path:
    """A sequence file with a planted pattern."""
    from genrec_bench.testing.planted_data import planted_lines

    path = tmp_path / "planted.txt"
    path.write_text("\n".join(planted_lines()) + "\n")
    return path


@pytest.fixture
def go(tmp_path, planted_file, monkeypatch):
    """Runs a small system on the planted data, with a cache of its own."""
    from small_runs import spec_for

    from genrec_bench.runs import run as runner

    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))

    def run(force=False, **changes):
        return runner.run(spec_for(planted_file, **changes), out=tmp_path / "runs", device="cpu", force=force)

    return run
