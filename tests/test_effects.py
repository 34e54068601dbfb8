"""What each setting of a study carries: runs that differ in it alone, and in nothing else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from example_records import RANKS, baseline, finished, generator_spec

from genrec_bench.cli.main import cli
from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.effects import effects, notes
from genrec_bench.protocol.statistics import interval_of_differences, intervals
from genrec_bench.runs.record import RunRecord

BETTER = (1, 1, 3, 2, 2, 0, 4, 1, 5, 0)


def run(
    ranks: Any = RANKS, seed: int = 0, indexer: str = "sci", backbone: str = "lightlm", **options: Any
) -> RunRecord:
    parts: dict[str, dict[str, Any]] = {"indexer": {}, "backbone": {}}
    for name, value in options.items():
        part, key = name.split("_", 1)
        parts[part][key] = value
    return finished(generator_spec(seed, parts, indexer=indexer, backbone=backbone), ranks)


def hit(ranks: Any) -> float:
    return sum(0 < rank <= 10 for rank in ranks) / len(ranks)


def test_an_option_is_compared_between_runs_that_differ_in_it_alone() -> None:
    records = [
        run(indexer_scope="level", backbone_trains_on="rows"),
        run(BETTER, indexer_scope="path", backbone_trains_on="rows"),
        run(indexer_scope="level", backbone_trains_on="sequences"),
        run(indexer_scope="path", backbone_trains_on="sequences"),
    ]
    found = effects(records, "hit@10")
    scope = [effect for effect in found if effect.setting == "indexer.scope"]
    gain = hit(BETTER) - hit(RANKS)
    assert [(effect.before, effect.after, effect.beside) for effect in scope] == [
        ("level", "path", None),
        ("level", "path", "trains_on=rows"),
        ("level", "path", "trains_on=sequences"),
    ]
    assert [effect.difference for effect in scope] == pytest.approx([gain / 2, gain, 0])
    assert [effect.level for effect in scope] == pytest.approx([hit(RANKS)] * 3)
    assert [effect.seeds for effect in scope] == [1, 1, 1]


def test_only_runs_of_one_seed_make_a_pair() -> None:
    found = effects(
        [run(seed=0, indexer_scope="level"), run(seed=1, indexer_scope="level"), run(BETTER, 1, indexer_scope="path")]
    )
    assert [effect.seeds for effect in found] == [1]
    with pytest.raises(RecordError, match="no two finished runs"):
        effects([run(seed=0, indexer_scope="level"), run(BETTER, seed=1, indexer_scope="path")])


def test_a_component_is_compared_whatever_options_it_alone_has() -> None:
    records = [
        run(indexer="sci", backbone_layers=2),
        run(BETTER, indexer="gci", indexer_epochs=3, backbone_layers=2),
        run(BETTER, indexer="gci", indexer_epochs=9, backbone_layers=2),
    ]
    found = effects(records, "hit@10")
    assert {(effect.setting, effect.beside) for effect in found} == {
        ("indexer", None),
        ("indexer", "epochs=3"),
        ("indexer", "epochs=9"),
        ("indexer.epochs", "indexer=gci"),
    }


def test_defaults_that_come_with_a_component_are_no_setting_of_the_study() -> None:
    records = [run(backbone="lightlm", backbone_dropout=0.1), run(BETTER, backbone="depth", backbone_dropout=0.5)]
    assert [(effect.setting, effect.before, effect.after) for effect in effects(records)] == [
        ("backbone", "depth", "lightlm")
    ]


def test_options_that_never_change_without_each_other_are_one_setting() -> None:
    records = [run(backbone_a=1, backbone_b=8), run(BETTER, backbone_a=2, backbone_b=9)]
    assert [(effect.setting, effect.after) for effect in effects(records)] == [("backbone.a + backbone.b", "2, 9")]


def test_a_word_names_the_choice_that_numbers_go_with() -> None:
    scopes = [
        run(RANKS if scope == "level" else BETTER, indexer_scope=scope, backbone_trains_on=way, backbone_epochs=epochs)
        for scope in ("level", "path")
        for way, epochs in (("rows", 60), ("sequences", 30))
    ]
    found = effects(scopes)
    assert {(effect.setting, effect.companions) for effect in found} == {
        ("indexer.scope", ()),
        ("backbone.trains_on", ("backbone.epochs",)),
    }
    assert {effect.beside for effect in found if effect.setting == "indexer.scope"} == {
        None,
        "trains_on=rows",
        "trains_on=sequences",
    }
    assert notes(found) == ["backbone.trains_on changed together with backbone.epochs"]


def test_the_interval_is_that_of_a_two_level_bootstrap() -> None:
    """Against nothing at all, the difference is the metric, whose interval a board gives."""
    ranks = np.random.default_rng(0).integers(0, 40, (3, 500))
    gains = ((ranks > 0) & (ranks <= 10)).astype(np.float64)
    assert interval_of_differences(gains) == pytest.approx(intervals([ranks])[0]["hit@10"])
    assert interval_of_differences(np.zeros((1, 5))) == (0, 0)


def test_runs_of_two_tasks_are_no_study() -> None:
    other = finished(generator_spec(options={"indexer": {"scope": "path"}}, task="sequential"))
    with pytest.raises(RecordError, match="several data sets, tasks or protocols"):
        effects([run(indexer_scope="level"), other])


@pytest.mark.parametrize("form", ["table", "md", "json"])
def test_the_command_prints_the_effects_and_leaves_baselines_out(tmp_path: Any, form: str) -> None:
    for record in (run(indexer_scope="level"), run(BETTER, indexer_scope="path"), baseline()):
        record.sealed().write(tmp_path / record.spec_id)
    done = CliRunner().invoke(cli, ["leaderboard", "effects", str(tmp_path), "--format", form, "--metric", "hit@10"])
    assert done.exit_code == 0, done.output
    if form == "json":
        (effect,) = json.loads(done.stdout)
        assert effect["difference"] == pytest.approx(hit(BETTER) - hit(RANKS))
    else:
        assert f"{hit(BETTER) - hit(RANKS):+.4f}" in done.stdout and "level to path" in done.stdout


def test_an_unknown_metric_is_refused_with_the_nearest(tmp_path: Any) -> None:
    run().sealed().write(tmp_path / "run")
    done = CliRunner().invoke(cli, ["leaderboard", "effects", str(tmp_path), "--metric", "ndgc@10"])
    assert done.exit_code == 2 and "Did you mean 'ndcg@10'" in done.output
