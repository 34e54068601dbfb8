"""A separate program in which RecBole scores a trained model with its own data loaders, masking and evaluator.

Its argument is a JSON file with the worker's files and the held-out cases; it prints RecBole's metrics as JSON. RecBole
builds the model again from pre-split files that include the test cases, and loads the trained weights.
"""

# ruff: noqa: E402
import json
import sys
from pathlib import Path

job = json.loads(Path(sys.argv[1]).read_text())
sys.argv = sys.argv[:1]
sys.path.insert(0, job["worker"])

import patches

patches.apply()

import numpy as np
import torch
from atomic import NAME, rows_of, write
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer

KS = [5, 10, 20]


def main():
    train = np.load(job["train"])
    sequences = rows_of(train["values"], train["offsets"])
    longest = job["parameters"].get("MAX_ITEM_LIST_LENGTH", 50)  # RecBole would drop the latest items of longer lists
    write("own", sequences, job["n_items"], None, job["sequential"], longest)
    for part, cases in (("valid", job["valid"]), ("test", job["test"])):
        with open(f"own/{NAME}/{NAME}.{part}.inter", "w") as file:
            file.write(
                "user_id:token\titem_id:token" + ("\titem_id_list:token_seq" if job["sequential"] else "") + "\n"
            )
            for user, history, target in cases:
                listed = "\t" + " ".join(map(str, history[-longest:])) if job["sequential"] else ""
                file.write(f"{user}\t{target}{listed}\n")
    config = Config(model=job["model"], dataset=NAME, config_dict={
        **job["parameters"], "data_path": "own", "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id", "item_id_list"], "user": ["user_id"], "item": ["item_id"]},
        "alias_of_item_id": ["item_id_list"] if job["sequential"] else None,
        "metrics": ["Hit", "NDCG", "MRR"], "topk": KS, "metric_decimal_place": 12, "gpu_id": "", "show_progress": False,
        "valid_metric": "NDCG@10",
    })  # fmt: skip
    dataset = create_dataset(config)
    train_data, _, test_data = data_preparation(config, dataset)
    model = get_model(job["model"])(config, train_data.dataset)
    checkpoint = torch.load(job["checkpoint"], map_location="cpu")
    tokens = {field: dataset.field2id_token[field].tolist() for field in ("item_id", "user_id")}
    model.load_state_dict(renumbered(checkpoint["state_dict"], model, tokens, job["tokens"]))
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.eval_collector.data_collect(train_data)
    print(json.dumps(trainer.evaluate(test_data, load_best_model=False)))


def renumbered(weights, model, here, there):
    """The weights, with the rows of embedding tables in the order of this data set's numbering."""
    reordered = {}
    for name, values in weights.items():
        for field in ("item", "user"):
            if f"{field}_embedding" in name:
                row = {token: number for number, token in enumerate(there[f"{field}_id"])}
                values = values[[row[token] for token in here[f"{field}_id"]]]
        reordered[name] = values
    return reordered


main()
