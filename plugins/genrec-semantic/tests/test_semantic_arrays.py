"""Item vectors from files: rows go to their items by external id, and a bad file says what is bad."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from genrec_semantic.arrays import array_vectors
from genrec_semantic.options import ContentConfig
from genrec_semantic.rq_kmeans import ResidualKmeans, ResidualKmeansConfig
from safetensors.numpy import save_file
from semantic_data import films, purity, with_ids

from genrec_bench.api import DataError, IndexerContext, NeedsMissing

VECTORS = np.arange(1, 25, dtype=np.float32).reshape(8, 3)
NUMBERS = np.array([10, 9, 2, 30, 4, 5, 60, 7])  # external ids, as texts in another order than as numbers


def catalogue(ids=NUMBERS):
    return with_ids(films(per_topic=2)[0], ids)


def read(path, view=None):
    return array_vectors(view or catalogue(), ContentConfig(array=str(path)), print)


def npz(path, ids=NUMBERS, vectors=VECTORS):
    np.savez(path, ids=ids, vectors=vectors)
    return path


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def write(kind, path, ids, vectors):
    if kind == "npz":
        return npz(path / "a.npz", ids, vectors)
    if kind == "safetensors":
        save_file({"ids": ids, "vectors": vectors}, path / "a.safetensors")
        return path / "a.safetensors"
    if kind == "list column":
        return parquet(path / "a.parquet", item_id=ids, vector=vectors.tolist())
    return parquet(path / "b.parquet", id=ids, **{f"x{n}": column for n, column in enumerate(vectors.T)})


@pytest.mark.parametrize("kind", ["npz", "safetensors", "list column", "columns"])
def test_rows_find_their_items_by_id_in_any_order(kind, tmp_path):
    order = np.array([3, 1, 0, 2, 7, 6, 5, 4])
    vectors, facts = read(write(kind, tmp_path, NUMBERS[order], np.ascontiguousarray(VECTORS[order])))
    assert np.array_equal(vectors, VECTORS)
    assert (facts["items_not_in_file"], facts["rows_not_in_catalogue"]) == (0, 0)


def test_a_list_column_may_have_any_name_and_other_columns_are_named(tmp_path):
    path = parquet(tmp_path / "a.parquet", item_id=NUMBERS, embedding=VECTORS.tolist(), price=np.arange(8.0))
    said = []
    vectors, facts = array_vectors(catalogue(), ContentConfig(array=str(path)), said.append)
    assert np.array_equal(vectors, VECTORS) and facts["columns_left_out"] == ["price"]
    assert "left out: price" in said[0]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"text": [[1.0]], "image": [[2.0]]}, "text, image"),
        ({"price": [1.0], "year": [1999]}, "price, year"),
        ({"x0": [1.0], "y0": [2.0]}, "x0, y0"),
    ],
)
def test_columns_that_may_be_anything_are_no_vectors(columns, found, tmp_path):
    with pytest.raises(DataError, match=f"in no one place: .*found {found}"):
        read(parquet(tmp_path / "a.parquet", id=["10"], **columns))


def test_rows_without_ids_are_the_items_in_the_order_of_their_numbers(tmp_path):
    np.save(tmp_path / "a.npy", VECTORS)
    vectors, _ = read(tmp_path / "a.npy")
    assert np.array_equal(vectors[np.argsort(NUMBERS)], VECTORS)
    save_file({"vectors": VECTORS}, tmp_path / "a.safetensors")
    assert np.array_equal(read(tmp_path / "a.safetensors")[0], vectors)


def test_items_that_the_file_lacks_are_counted_and_get_codes_without_meaning(tmp_path):
    ids = np.array([*NUMBERS[:6].tolist(), 777, 778, 779])
    path = npz(tmp_path / "a.npz", ids, np.concatenate([VECTORS, VECTORS[:1]]))
    index = ResidualKmeans(ResidualKmeansConfig(array=str(path), levels=2)).build(catalogue(), IndexerContext())
    facts = index.info["content"]
    assert (facts["items_not_in_file"], facts["rows_not_in_catalogue"], facts["without_content"]) == (2, 3, 2)
    assert len(index.items) == 8


def test_vectors_of_a_file_decide_the_codes(tmp_path):
    view, topic = films()
    view = with_ids(view)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4, 5))[topic] + rng.normal(size=(len(topic), 5)) * 0.01
    path = npz(tmp_path / "a.npz", view.item_ids, vectors)
    index = ResidualKmeans(ResidualKmeansConfig(array=str(path), codebook_size=4)).build(view, IndexerContext())
    assert purity(index.items.codes[:, 0], topic) == 1


def bad(**what):
    vectors = VECTORS.copy()
    vectors[2, 1] = np.nan
    return {
        "NaN": (npz, {"vectors": vectors}, "NaN or infinity in 1 vectors, the first that of item '2'"),
        "one axis": (npz, {"vectors": VECTORS[:, 0]}, r"vectors of shape \(8,\) .*: expected numbers, \(items, d\)"),
        "texts": (npz, {"vectors": VECTORS.astype(str)}, "expected numbers"),
        "too few ids": (npz, {"ids": NUMBERS[:5]}, r"ids of shape \(5,\) for 8 vectors"),
        "id twice": (npz, {"ids": np.array([1, 1, *NUMBERS[2:]])}, "1 ids more than once, for example '1'"),
        "fractions": (npz, {"ids": NUMBERS + 0.5}, "ids of type float64: expected texts or whole numbers"),
        "other ids": (npz, {"ids": NUMBERS + 1000}, "none of the 8 items: its ids begin"),
        "pickled": (npz, {"ids": NUMBERS.astype(object)}, "cannot be read as .npz"),
    }


@pytest.mark.parametrize("fault", list(bad()))
def test_a_bad_file_says_what_is_bad(fault, tmp_path):
    make, what, said = bad()[fault]
    path = make(tmp_path / "a.npz", **what)
    with pytest.raises(DataError, match=said) as caught:
        read(path)
    assert caught.value.path == path


def test_a_file_that_is_another_or_cut_short_is_one_line(tmp_path):
    for ending in ("npz", "npy", "safetensors", "parquet"):
        path = tmp_path / f"a.{ending}"
        path.write_bytes(b"PK\x03\x04 nothing")
        with pytest.raises(DataError, match=f"cannot be read as .{ending}") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_missing_names_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", VECTORS)
    with pytest.raises(DataError, match=r"has no ids and no vectors: .* found arr_0"):
        read(tmp_path / "a.npz")
    with pytest.raises(DataError, match="no column id or item_id: found asin"):
        read(parquet(tmp_path / "a.parquet", asin=["a"], x=[1.0]))
    with pytest.raises(DataError, match="vectors of 1 to 2 numbers"):
        read(parquet(tmp_path / "b.parquet", id=["a", "b"], vector=[[1.0], [1.0, 2.0]]))
    with pytest.raises(DataError, match="1 rows without an id"):
        read(parquet(tmp_path / "c.parquet", id=["a", None], x0=[1.0, 2.0]))
    save_file({"weights": VECTORS}, tmp_path / "a.safetensors")
    with pytest.raises(DataError, match="has no `vectors`: found weights"):
        read(tmp_path / "a.safetensors")


def test_rows_without_ids_must_be_as_many_as_items_with_whole_numbers(tmp_path):
    np.save(tmp_path / "a.npy", VECTORS[:7])
    with pytest.raises(DataError, match="7 rows without ids for 8 items"):
        read(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", VECTORS)
    with pytest.raises(DataError, match="ids are not whole numbers"):
        read(tmp_path / "a.npy", catalogue(list("abcdefgh")))


def test_a_view_without_ids_is_named(tmp_path):
    with pytest.raises(NeedsMissing, match="this view has none"):
        read(npz(tmp_path / "a.npz"), films(per_topic=2)[0])


def test_only_the_array_encoder_asks_for_ids(tmp_path):
    config = ResidualKmeansConfig(array=str(npz(tmp_path / "a.npz")))
    assert ResidualKmeans(config).needs == {"item_ids"} and not ResidualKmeans().needs


def test_a_file_that_changed_under_its_name_changes_the_fingerprint(tmp_path):
    indexer = ResidualKmeans(ResidualKmeansConfig(array=str(npz(tmp_path / "a.npz"))))
    before = indexer.fingerprint()
    assert before == indexer.fingerprint() != ""
    npz(tmp_path / "a.npz", vectors=VECTORS + 1)
    assert indexer.fingerprint() != before and ResidualKmeans().fingerprint() == ""


def test_a_file_in_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = npz(tmp_path / "vectors.npz")
    here, there = (ContentConfig(array=str(name)) for name in (path, "~/vectors.npz"))
    assert there.fingerprint() == here.fingerprint()
    assert np.array_equal(array_vectors(catalogue(), there, print)[0], array_vectors(catalogue(), here, print)[0])
