"""What is refused before any work, and where parameters come from. Nothing here starts RecBole."""

import re
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from genrec_baselines import models, requirements, settings
from genrec_baselines.baseline import parse_extra, visible_gpu

from genrec_bench import RunSpec, run
from genrec_bench.api import (
    ConfigError,
    DeviceMissing,
    NeedsMissing,
    Ragged,
    TrainView,
    UnknownComponent,
    UsageError,
)

POINTS = distribution("genrec-baselines").entry_points.select(group="genrec_bench.baselines")
MODELS = {point.name: point.load() for point in POINTS}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_registered_model_is_ready(make, name):
    make(MODELS[name]).ready()
    assert MODELS[name].model and MODELS[name].tasks in (("direct",), ("sequential",))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_names_a_model_or_sets_its_size_is_a_parameter_of_it(name):
    cls = MODELS[name]
    known = requirements.parameters_of(cls.model, requirements.locate(None))
    assert {*cls.sizes, *cls.fixed} <= known


def test_the_error_for_an_unknown_model_suggests_the_closest_name(tmp_path):
    with pytest.raises(UnknownComponent, match="Did you mean 'sasrec'"):
        run(RunSpec(baseline="sasrek", task="sequential"), out=tmp_path)


def test_the_error_for_a_name_like_no_other_lists_all_models(tmp_path):
    with pytest.raises(UnknownComponent, match=r"There are: .*\bbpr, .*\bsasrec\b") as caught:
        run(RunSpec(baseline="transformer4rec"), out=tmp_path)
    assert set(MODELS) <= set(caught.value.known)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epoch": 1}, "Did you mean 'epochs'"),
        ({"epochs": 0}, "must be above 0"),
        ({"time_limit": -1}, "must be above 0"),
        ({"extra": "n_layers"}, "expected name=value"),
    ],
)
def test_a_wrong_option_is_refused(make, options, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        make(models.BPR, **options)


@pytest.mark.parametrize(
    ("cls", "options", "said"),
    [
        (models.SASRec, {"extra": "n_layer=2"}, "no parameter 'n_layer'. Did you mean 'n_layers'"),
        (models.SASRec, {"extra": "loss_type=BPR"}, "set by the bridge"),
        (models.BPR, {"extra": "data_path=/"}, "set by the bridge"),
        (models.Pop, {"embedding_size": 8}, "has no embeddings"),
    ],
)
def test_what_a_model_does_not_know_is_refused_before_data_is_read(make, cls, options, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        make(cls, **options).ready()


def test_extra_takes_any_value():
    given = parse_extra(("mlp_hidden_size=[64", "32]", "dropout_prob=0.2", "type=ED", "mf_train=false"))
    assert given == {"mlp_hidden_size": [64, 32], "dropout_prob": 0.2, "type": "ED", "mf_train": False}


@pytest.mark.parametrize(("version", "said"), [(None, "not installed"), ("1.2.0", "RecBole 1.2.0")])
def test_without_the_right_recbole_the_command_to_install_it_is_told(monkeypatch, tmp_path, version, said):
    (tmp_path / "__init__.py").write_text(f'__version__ = "{version}"\n')
    origin = str(tmp_path / "__init__.py") if version else ""
    monkeypatch.setattr(requirements, "_look", lambda python: (origin, []))
    requirements.locate.cache_clear()
    with pytest.raises(NeedsMissing, match=f"{said}.*-m pip install --no-deps recbole==1.2.1"):
        requirements.locate(None)
    requirements.locate.cache_clear()


def test_what_recbole_imports_and_is_missing_is_told_with_the_command(monkeypatch, make):
    monkeypatch.setitem(requirements.IMPORTS, "no_such_module", "no-such-package")
    requirements.locate.cache_clear()
    for python in (None, sys.executable):
        with pytest.raises(NeedsMissing, match=r"imports no_such_module, .* -m pip install no-such-package$"):
            make(models.BPR, python=python).ready()
    requirements.locate.cache_clear()


def test_ray_is_not_asked_for(monkeypatch, make):
    """RecBole's pin of it has no wheel for Python 3.12 and later."""
    monkeypatch.setitem(sys.modules, "ray", None)
    requirements.locate.cache_clear()
    make(models.BPR).ready()
    assert "ray" not in requirements.IMPORTS


def test_what_is_not_an_interpreter_is_refused(make):
    with pytest.raises(UsageError, match="not a Python interpreter"):
        make(models.BPR, python="/no/such/python").ready()


def test_an_interpreter_may_be_in_the_home_folder(make, monkeypatch):
    monkeypatch.setenv("HOME", str(Path(sys.executable).parent))
    baseline = make(models.BPR, python=f"~/{Path(sys.executable).name}")
    assert baseline.python == sys.executable
    baseline.ready()


def test_another_interpreter_is_asked_for_its_recbole():
    assert requirements.locate(sys.executable) == requirements.locate(None)


def test_settings_are_of_known_models_and_parameters_and_name_their_source():
    for table in settings.files().values():
        assert set(table["data"]) == {"users", "items", "events"}
        assert set(table) - {"data", "every-model", "every-sequential-model"} <= {
            cls.name_in_settings() for cls in MODELS.values()
        }
        for cls in MODELS.values():
            given = {**table["every-model"], **table.get(cls.name_in_settings(), {})}
            assert given.pop("source")
            assert set(given) <= requirements.parameters_of(cls.model, requirements.locate(None))


def view(users, items, events):
    return TrainView(Ragged(np.zeros(events, np.int32), np.array([0] * users + [events])), items)


def test_settings_are_chosen_by_the_training_part_and_an_option_is_stronger(make, monkeypatch):
    table = {
        "data": {"users": 2, "items": 9, "events": 5},
        "every-model": {"source": "a paper", "learning_rate": 0.1, "epochs": 7},
        "every-sequential-model": {"source": "the protocol", "MAX_ITEM_LIST_LENGTH": 20},
    }
    monkeypatch.setattr(settings, "files", lambda: {"toy.toml": table})
    known, other = view(2, 9, 5), view(2, 9, 6)
    given, source = make(models.BPR, epochs=3).parameters(known)
    assert given == {"learning_rate": 0.1, "epochs": 3} and source == "a paper (toy.toml); given: epochs"
    given, source = make(models.GRU4Rec).parameters(known)
    assert given["MAX_ITEM_LIST_LENGTH"] == 20 and source == "a paper; the protocol (toy.toml)"
    assert make(models.BPR).parameters(other) == ({}, settings.DEFAULTS)
    assert make(models.BPR, settings="none").parameters(known) == ({}, settings.DEFAULTS)


def test_other_settings_of_a_model_make_its_runs_other_runs_and_nobody_elses(make, monkeypatch):
    table = {"data": {"users": 2, "items": 9, "events": 5}, "every-model": {"source": "a paper", "epochs": 7}}
    monkeypatch.setattr(settings, "files", lambda: {"toy.toml": table})
    bpr, gru = make(models.BPR), make(models.GRU4Rec)
    before = bpr.fingerprint(), gru.fingerprint()
    table["bpr"] = {"source": "a search", "learning_rate": 0.1}
    assert bpr.fingerprint() != before[0] and gru.fingerprint() == before[1]
    table["every-sequential-model"] = {"source": "the protocol", "MAX_ITEM_LIST_LENGTH": 20}
    assert gru.fingerprint() != before[1]
    assert make(models.BPR, settings="none").fingerprint() == ""


def test_embedding_size_is_what_the_model_calls_it(make):
    given, _ = make(models.NeuMF, embedding_size=8).parameters(view(2, 9, 5))
    assert given == {"mf_embedding_size": 8, "mlp_embedding_size": 8}


def test_data_without_features_is_refused_by_name(planted_file, tmp_path):
    with pytest.raises(NeedsMissing, match="'fdsa' needs item_features"):
        run(RunSpec(dataset="file", baseline="fdsa", task="sequential", set=planted_file), out=tmp_path)


@pytest.mark.parametrize(
    ("cls", "rows", "said"),
    [(models.SASRec, [[0], [1]], "two training items"), (models.BPR, [[0, 1], [1]], "user 0 has seen all 2")],
)
def test_data_that_a_model_cannot_learn_from_is_refused(make, ctx, cls, rows, said):
    with pytest.raises(NeedsMissing, match=said):
        make(cls).fit(TrainView(Ragged.of(rows), 2), ctx)


def test_models_that_are_trained_use_a_gpu_and_those_that_count_do_not():
    counting = {name for name, cls in MODELS.items() if not cls.uses_gpu}
    assert counting == {"recbole-pop", "recbole-ease", "itemknn"}


def test_the_gpu_is_named_as_the_machine_names_it(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [visible_gpu(device) for device in ("cpu", "cuda", "cuda:1")] == ["", "4", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpu("cuda:1") == "1"
    with pytest.raises(DeviceMissing, match="not on 'mps'"):
        visible_gpu("mps")
