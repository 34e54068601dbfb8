"""What a run makes of the record that an earlier one left: returned, made anew aloud, or refused."""

import json

import pytest
from click.testing import CliRunner
from example_records import edit
from small_runs import folder_of, spec_for

from genrec_bench import RunRecord, RunSpec
from genrec_bench.cli.main import cli
from genrec_bench.core.progress import Quiet
from genrec_bench.errors import DataError, OutputError, RecordError
from genrec_bench.runs import run as runner
from genrec_bench.runs.verify import verify


class Notes(Quiet):
    def __init__(self):
        self.said = []

    def note(self, message):
        self.said.append(message)


@pytest.fixture
def done(go, tmp_path, planted_file):
    """The folder of a finished run, and what runs it again."""
    folder = folder_of(tmp_path, go(baseline="popularity"))

    def again(**how):
        return runner.run(spec_for(planted_file, baseline="popularity"), out=tmp_path / "runs", **how)

    return folder, again


def test_a_record_of_a_newer_version_is_refused_unless_forced(done):
    folder, again = done
    edit(folder, "schema", value=2)
    before = (folder / "record.json").read_text()
    with pytest.raises(OutputError, match=r"record schema 2, this one reads 1.*--force"):
        again()
    assert (folder / "record.json").read_text() == before
    assert again(force=True).status == "finished"
    assert RunRecord.read(folder).schema == 1


def test_a_damaged_record_is_made_anew_and_that_is_said_once(done):
    folder, again = done
    (folder / "record.json").write_text("{")
    progress = Notes()
    assert again(progress=progress).status == "finished"
    (said,) = progress.said
    assert "record.json" in said and "running again" in said


def test_a_folder_without_a_record_is_used_in_silence(done):
    folder, again = done
    (folder / "record.json").unlink()
    progress = Notes()
    again(progress=progress)
    assert progress.said == []


def test_a_finished_run_whose_numbers_were_edited_is_never_shown(done):
    folder, again = done
    edit(folder, "metrics", "mask", "ndcg@10", value=0.0)
    with pytest.raises(RecordError, match=r"ndcg@10 0 is not .*genrec verify .*--force"):
        again()
    assert json.loads((folder / "record.json").read_text())["metrics"]["mask"]["ndcg@10"] == 0.0
    assert again(force=True).metrics["mask"]["ndcg@10"] > 0


def test_a_finished_run_whose_stored_ranks_are_gone_is_refused(done):
    folder, again = done
    edit(folder, "ranks", "mask", value="ranks.mask.npy")
    with pytest.raises(RecordError, match=r"ranks\.mask\.npy.*--force"):
        again()


@pytest.mark.parametrize("what", ["out", "cache"])
def test_a_folder_that_cannot_be_written_is_found_before_data_is_read(tmp_path, planted_file, monkeypatch, what):
    (tmp_path / "file").write_text("")
    where = {"out": tmp_path / "runs", "cache": tmp_path / "cache", what: tmp_path / "file" / "below"}
    monkeypatch.setenv("GENREC_CACHE", str(where["cache"]))
    monkeypatch.setattr(runner, "load_inputs", lambda *_, **__: 1 / 0)
    before = sorted(tmp_path.iterdir())
    advice = {"out": "--out", "cache": "GENREC_CACHE"}[what]
    with pytest.raises(OutputError, match=f"cannot write to .*below.*: Not a directory; .*{advice}"):
        runner.run(spec_for(planted_file), out=where["out"], device="cpu")
    assert sorted(tmp_path.iterdir()) == before


def test_a_run_on_a_relative_path_is_verified_and_recommended_from_anywhere(tmp_path, planted_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = runner.run(spec_for(planted_file.name, baseline="popularity"), out="runs")
    folder = folder_of(tmp_path, record)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="--data-dir"):
        verify(folder)
    assert verify(folder, data_dir=tmp_path).ok
    words = ["recommend", str(folder), "--user", "u0", "--data-dir", str(tmp_path)]
    assert CliRunner().invoke(cli, words).exit_code == 0


def test_a_run_on_columns_whose_header_decides_ends_well_and_is_found_again(tmp_path):
    rows = [f"u{user},i{(user * 7 + place * 3) % 11},{place}" for user in range(12) for place in range(5)]
    (tmp_path / "clicks.csv").write_text("\n".join(["who,what,at", *rows]) + "\n")
    columns = {"path": str(tmp_path / "clicks.csv"), "format": "csv", "user_column": "who", "item_column": "what"}
    spec = RunSpec(dataset="file", baseline="popularity", set={f"dataset.{key}": each for key, each in columns.items()})
    first = runner.run(spec, out=tmp_path / "runs")
    assert first.status == "finished"
    assert runner.run(spec, out=tmp_path / "runs").environment == first.environment
