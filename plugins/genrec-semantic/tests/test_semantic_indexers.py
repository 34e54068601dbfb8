"""What holds for every semantic indexer: content decides, events do not, and what came out is reported."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from genrec_semantic.coding import collision_facts, level_facts, reconstruction_error, with_unknown
from genrec_semantic.kmeans import kmeans
from genrec_semantic.opq import ProductQuantiser
from genrec_semantic.rq_kmeans import ResidualKmeans
from genrec_semantic.rq_vae import ResidualVae
from genrec_semantic.tree import SemanticTree
from semantic_data import events, films, loyal, purity

from genrec_bench.api import ConfigError, IndexerContext, NeedsMissing, Ragged, add_suffix
from genrec_bench.testing import Subject

SMALL = {
    ResidualKmeans: {"levels": 2, "codebook_size": 8, "dimensions": 16},
    ResidualVae: {
        "levels": 2,
        "codebook_size": 8,
        "dimensions": 16,
        "learning_rate": 3e-3,
        "latent": 8,
        "hidden": (32,),
        "epochs": 40,
        "batch_size": 16,
    },
    SemanticTree: {"clusters": 4, "leaf_size": 10, "dimensions": 16},
    ProductQuantiser: {"digits": 2, "codebook_size": 8, "dimensions": 16},
}
PURE = {ProductQuantiser: 0.7}  # of the first token, where it is not .95: a digit of OPQ knows a piece of the vector
ALL = pytest.mark.parametrize("cls", list(SMALL), ids=lambda cls: cls.method)


def build(cls, view, seed=0, **options):
    return Subject.of("indexer", cls, {**SMALL[cls], **options}).make().build(view, IndexerContext(seed=seed))


@ALL
def test_items_alike_in_content_share_a_prefix(cls):
    view, topic = films()
    index = build(cls, view)
    assert purity(index.items.codes[:, 0], topic) > PURE.get(cls, 0.95)
    assert purity(np.random.default_rng(0).permutation(index.items.codes[:, 0]), topic) < 0.7


@ALL
def test_events_do_not_move_a_code(cls):
    view, _ = films()
    poisoned, _ = films(sequences=events(view.n_items, users=3, seed=9))
    assert build(cls, view).fingerprint == build(cls, poisoned).fingerprint
    nothing, _ = films(sequences=Ragged.empty(4))
    index = build(cls, nothing)
    assert index.fingerprint == build(cls, view).fingerprint and index.info["events_used"] == 0


@ALL
def test_co_occurrence_takes_the_place_of_content(cls):
    view, topic = loyal()
    index = build(cls, view, encoder="cooccurrence")
    assert purity(index.items.codes[:, 0], topic) > PURE.get(cls, 0.95)
    assert index.info["events_used"] == 200 * 6
    assert {key: index.info["content"][key] for key in ("encoder", "fields", "dimensions", "without_content")} == {
        "encoder": "cooccurrence",
        "fields": "interactions",
        "dimensions": 16,
        "without_content": 0,
    }
    assert build(cls, loyal(seed=1)[0], encoder="cooccurrence").fingerprint != index.fingerprint


@ALL
def test_items_without_company_are_counted_as_items_without_content(cls):
    view, _ = loyal(per_topic=10)
    index = build(cls, replace(view, n_items=45), encoder="cooccurrence")
    first = index.items.codes[:, 0]
    assert index.info["content"]["without_content"] == 5
    assert len(set(first[40:])) == 1 and first[40] not in first[:40]


@ALL
def test_a_training_part_without_pairs_is_refused(cls):
    view, _ = films(sequences=Ragged.of([[0], [1]]))
    with pytest.raises(NeedsMissing, match="no item has any content for encoder=cooccurrence"):
        build(cls, view, encoder="cooccurrence")


def test_a_path_token_of_the_tree_stands_at_one_node():
    codes = build(SemanticTree, films()[0], token_scope="path").items.codes.tolist()
    nodes = {tuple(code[:end]) for code in codes for end in range(1, len(code) + 1) if code[end - 1] >= 0}
    assert len({node[-1] for node in nodes}) == len(nodes)


@ALL
def test_one_seed_gives_one_index_whatever_the_global_random_state(cls):
    import torch

    view, _ = films()
    first = build(cls, view, seed=3)
    np.random.seed(7)  # noqa: NPY002
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert build(cls, view, seed=3).fingerprint == first.fingerprint
    assert torch.equal(torch.get_rng_state(), before)
    assert build(cls, view, seed=4).fingerprint != first.fingerprint


@ALL
def test_the_number_of_threads_does_not_move_a_code(cls):
    import torch
    from threadpoolctl import threadpool_limits

    view, _ = films(per_topic=100)
    fingerprints, threads = [], torch.get_num_threads()
    for number in (1, 2):
        with threadpool_limits(number):
            torch.set_num_threads(number)
            fingerprints.append(build(cls, view).fingerprint)
            assert torch.get_num_threads() == number
    torch.set_num_threads(threads)
    assert fingerprints[0] == fingerprints[1]


@ALL
def test_equal_content_gets_equal_codes_and_a_suffix(cls):
    view, _ = films(per_topic=10)
    titles = view.item_titles.copy()
    titles[[4, 8, 12]] = titles[0]
    twins, _ = films(per_topic=10, item_titles=titles, item_features=None)
    index = build(cls, twins)
    lengths = (index.items.codes[[0, 4, 8, 12]] >= 0).sum(axis=1)
    stems = {tuple(index.items.codes[item, : lengths[0] - 1]) for item in (0, 4, 8, 12)}
    assert len(stems) == 1 and len(set(lengths)) == 1
    assert index.collision_rate >= index.info["content"]["identical_content"] >= 4 / 40


@ALL
def test_items_without_content_are_counted_and_get_codes_below_a_token_of_their_own(cls):
    view, _ = films(per_topic=10)
    titles = view.item_titles.copy()
    titles[:5] = ["", " ", "?", "!", "-"]
    index = build(cls, films(per_topic=10, item_titles=titles, item_features=None)[0])
    assert index.info["content"]["without_content"] == 5
    first = index.items.codes[:, 0]
    assert len(set(first[:5])) == 1 and first[0] not in first[5:]
    assert index.info["collisions"]["items"] == 35


@ALL
def test_a_set_without_titles_and_features_is_told_to_choose_another_indexer(cls):
    view, _ = films(item_titles=None, item_features=None)
    with pytest.raises(NeedsMissing, match=r"neither: choose another indexer \(sci, sequential\)"):
        build(cls, view)


@ALL
def test_a_catalogue_of_one_item_or_of_equal_items_still_gets_codes(cls):
    one, _ = films(per_topic=1)
    for n in (1, 3):
        view, _ = films(per_topic=1, n_items=n, item_titles=np.array(["same words"] * n), item_features=None)
        assert len(build(cls, view).items) == n
    assert len(build(cls, one).items) == 4


@ALL
def test_the_facts_fit_the_codes_and_go_into_json(cls, tmp_path):
    view, _ = films()
    index = build(cls, view)
    facts = index.info["collisions"]
    assert facts["rate"] == pytest.approx(index.collision_rate)
    assert facts["distinct_codes"] == view.n_items - round(facts["duplicate_rate"] * view.n_items)
    assert all(1 <= level["perplexity"] <= level["used"] + 0.01 for level in index.info["levels"])
    assert 0 <= index.info["reconstruction_error"] < 0.5
    index.save(tmp_path)
    assert type(index).load(tmp_path).info == index.info


@ALL
def test_it_is_registered_under_the_name_of_its_method(cls):
    assert isinstance(Subject.of("indexer", cls.method).make(), cls)


@pytest.mark.parametrize(
    ("cls", "options", "said"),
    [
        (ResidualKmeans, {"levels": 0}, "levels = 0: must be above 0"),
        (ResidualKmeans, {"codebook_size": 1}, "codebook_size = 1: must be at least 2"),
        (ProductQuantiser, {"digits": 0}, "digits = 0: must be above 0"),
        (ResidualVae, {"patience": 0}, "patience = 0: must be above 0"),
        (ResidualVae, {"learning_rate": 0}, "learning_rate = 0: must be above 0"),
        (ResidualVae, {"hidden": (0,)}, r"hidden = \(0,\): must be above 0"),
        (SemanticTree, {"clusters": 1}, "clusters = 1: must be at least 2"),
        (SemanticTree, {"dimensions": 0}, "dimensions = 0: must be above 0"),
        (SemanticTree, {"encoder": "word2vec"}, "expected one of auto, tfidf"),
    ],
)
def test_an_option_that_makes_no_code_is_refused_before_any_work(cls, options, said):
    with pytest.raises(ConfigError, match=said):
        Subject.of("indexer", cls, options).make()


def test_collisions_are_counted_before_the_suffix():
    labels = np.array([[0, 1], [0, 1], [0, 1], [0, 2], [3, 3], [3, 3]], np.int32)
    facts = collision_facts(labels)
    assert facts == {
        "rate": pytest.approx(5 / 6),
        "duplicate_rate": 0.5,
        "largest_group": 3,
        "distinct_codes": 3,
        "items": 6,
    }
    assert facts["rate"] == pytest.approx(add_suffix(labels)[1])


def test_perplexity_is_the_number_of_codes_where_all_are_used_alike_and_one_where_one_is():
    even, one = level_facts(np.array([[0, 5], [1, 5], [2, 5], [3, 5]], np.int32), size=8)
    assert even == {"codes": 8, "used": 4, "dead": 4, "perplexity": 4.0}
    assert one == {"codes": 8, "used": 1, "dead": 7, "perplexity": 1.0}


def test_reconstruction_error_is_zero_for_the_vectors_and_one_for_their_weighted_mean():
    vectors, weights = np.array([[0.0, 1.0], [4.0, 1.0]], np.float32), np.array([3, 1])
    assert reconstruction_error(vectors, vectors, weights) == 0
    assert reconstruction_error(vectors, np.array([[1.0, 1.0]] * 2, np.float32), weights) == 1


def test_more_unknown_items_than_numbers_are_left_to_the_suffix():
    known = np.zeros(12, bool)
    known[:3] = True
    labels = with_unknown(np.zeros((3, 2), np.int32), 4, known)
    assert (labels[3:, 0] == 4).all() and set(labels[3:, 1].tolist()) == {0, 1, 2, 3}
    assert len(np.unique(add_suffix(labels)[0], axis=0)) == 12


def test_kmeans_codes_without_faiss_end_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    view, _ = films()
    for cls in (ResidualKmeans, SemanticTree, ProductQuantiser):
        with pytest.raises(NeedsMissing, match=r"need faiss, .* pip install 'genrec-semantic\[cpu\]'"):
            build(cls, view)
    assert len(build(ResidualVae, view, epochs=1).items) == view.n_items


def test_a_leaf_holds_no_more_than_its_size_unless_its_items_are_equal():
    view, _ = films(per_topic=50)
    index = build(SemanticTree, view, leaf_size=12)
    equal = np.unique(view.item_titles, return_counts=True)[1].max()
    assert index.info["collisions"]["largest_group"] <= max(12, equal)


def test_k_means_learns_from_a_sample_of_many_rows_and_assigns_all(monkeypatch):
    rows = np.random.default_rng(0).standard_normal((300, 3)).astype(np.float32)
    rows[::2] += 9
    monkeypatch.setattr("genrec_semantic.kmeans.POINTS", 10)
    centroids, which = kmeans(rows, np.ones(300, np.int64), 2, 10, 0)
    assert centroids.shape == (2, 3) and len(set(which[::2])) == len(set(which[1::2])) == 1 and which[0] != which[1]
