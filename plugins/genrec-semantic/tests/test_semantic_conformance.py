"""The toolkit's own conformance checks, over each of the indexers."""

from genrec_bench import testing


class TestRqKmeans(testing.IndexerConformance):
    component = "rq-kmeans"


class TestRqVae(testing.IndexerConformance):
    component = "rq-vae"
    config = {"levels": 2, "codebook_size": 8, "latent": 8, "hidden": (16,), "epochs": 5}  # noqa: RUF012


class TestOpq(testing.IndexerConformance):
    component = "opq"
    config = {"digits": 4, "codebook_size": 8, "dimensions": 8}  # noqa: RUF012


class TestSemanticTree(testing.IndexerConformance):
    component = "semantic-tree"
    config = {"clusters": 4, "leaf_size": 5}  # noqa: RUF012


NO_PAIR = "one item, or one that is met alone, co-occurs with none: told in one line"


class TestRqKmeansOfCooccurrence(testing.IndexerConformance):
    component = "rq-kmeans"
    config = {"encoder": "cooccurrence", "levels": 2, "codebook_size": 8}  # noqa: RUF012
    expected_failures = {"tiny_data_is_indexed": NO_PAIR}  # noqa: RUF012


class TestOpqOfCooccurrence(testing.IndexerConformance):
    component = "opq"
    config = {**TestOpq.config, "encoder": "cooccurrence"}  # noqa: RUF012
    expected_failures = {"tiny_data_is_indexed": NO_PAIR}  # noqa: RUF012


class TestRqVaeOfCooccurrence(testing.IndexerConformance):
    component = "rq-vae"
    config = {**TestRqVae.config, "encoder": "cooccurrence"}  # noqa: RUF012
    expected_failures = {"tiny_data_is_indexed": NO_PAIR}  # noqa: RUF012


class TestSemanticTreeOfCooccurrence(testing.IndexerConformance):
    component = "semantic-tree"
    config = {"encoder": "cooccurrence", "clusters": 4, "leaf_size": 5, "token_scope": "path"}  # noqa: RUF012
    expected_failures = {"tiny_data_is_indexed": NO_PAIR}  # noqa: RUF012
