"""Shared by the tests: a cache of their own, a planted data set, and small settings that train within seconds."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import BaselineContext
from genrec_bench.testing import planted, planted_lines


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Nothing of the person's cache is read or changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def planted_file(tmp_path):
    """Options of the data set `file` for a file in which every user walks through one group's items in a fixed cycle."""
    path = tmp_path / "planted.txt"
    path.write_text("\n".join(planted_lines()) + "\n")
    return {"dataset.path": str(path), "dataset.format": "sequence"}


@pytest.fixture(scope="session")
def data():
    """The planted data, split."""
    return planted(users=60)


@pytest.fixture
def make():
    """Makes a baseline from its class and options; the processes of all of them end with the test."""
    made = []

    def start(cls, **options):
        made.append(cls(make_config(cls.Config, options, "baseline")))
        return made[-1]

    yield start
    for each in made:
        if hasattr(each, "_worker"):
            each._worker.close()


@pytest.fixture
def ctx():
    return BaselineContext()
