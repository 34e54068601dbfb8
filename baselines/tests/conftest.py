"""Shared by the tests: a cache of their own, a planted data set, and small settings that train within seconds."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from genrec_bench.api import BaselineContext
from genrec_bench.testing import Subject, planted, planted_lines


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Neither reads nor changes the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def planted_file(tmp_path):
    """Options of the data set `file` for a file in which every user goes through one group's items in a cycle."""
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
    baselines = []

    def make(cls, **options):
        baselines.append(Subject.of("baseline", cls, options).make())
        return baselines[-1]

    yield make
    for baseline in baselines:
        if hasattr(baseline, "_worker"):
            baseline._worker.close()


@pytest.fixture
def ctx():
    return BaselineContext()
