"""Shared by the tests: a cache of their own."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Nothing of the person's cache is read or changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
