"""The toolkit's own conformance checks, over each of the indexers."""

from genrec_bench import testing


class TestRqKmeans(testing.IndexerConformance):
    component = "rq-kmeans"


class TestRqVae(testing.IndexerConformance):
    component = "rq-vae"
    config = {"levels": 2, "codebook_size": 8, "latent": 8, "hidden": (16,), "epochs": 5}  # noqa: RUF012


class TestSemanticTree(testing.IndexerConformance):
    component = "semantic-tree"
    config = {"clusters": 4, "leaf_size": 5}  # noqa: RUF012
