"""Small runs on a planted data set, shared by the tests of the runner and of run folders."""

from genrec_bench import RunSpec

SMALL = {"backbone.epochs": 3, "backbone.d_model": 32, "backbone.heads": 2}


def spec_for(path, **changes):
    options = {"dataset.path": str(path), "dataset.format": "sequence", **changes.pop("set", {})}
    system = {} if "baseline" in changes else {"indexer": "random", "backbone": "lightlm", "profile": "tiny"}
    if not system:
        return RunSpec(dataset="file", set=options, **changes)
    return RunSpec(dataset="file", set={**SMALL, **options}, **{**system, **changes})


def folder_of(tmp_path, record):
    return tmp_path / "runs" / record.spec_id
