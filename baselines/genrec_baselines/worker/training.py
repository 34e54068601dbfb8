"""Trains one RecBole model on the training part. The host validates: it asks for lists and returns a score.

Uses RecBole's trainer, early stopping and checkpoints unchanged. Validation targets never come here.
"""

import sys
import time

import numpy as np
import torch
from atomic import NAME, TRAIN, rows_of, write
from ranking import Ranker
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.utils import get_dataloader
from recbole.sampler import RepeatableSampler, Sampler
from recbole.utils import ModelType, get_model, get_trainer, init_seed

TICK = 1.0  # seconds between signs of life


class OutOfTime(Exception):
    """The time limit is over; the weights so far are saved."""


class Batches:
    """A data loader that reports its progress to the host, and ends an epoch early once the time is over."""

    def __init__(self, loader, host, ends):
        self._loader, self._host = loader, host
        self.ends = ends  # on the monotonic clock
        self._reported = 0.0
        self.done = 0  # batches of this epoch
        self.cut = False  # whether an epoch ended early

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def __len__(self):
        return len(self._loader)

    def __iter__(self):
        for number, batch in enumerate(self._loader):
            now = time.monotonic()
            if number and now > self.ends:
                self.cut = True
                return
            if now - self._reported > TICK:
                self._reported = now
                self._host.send(batch=number, batches=len(self._loader))
            self.done = number + 1
            yield batch


def train(job, host):
    """Train as `job` says. Returns the ranker of the best weights, and the facts of training."""
    began = time.monotonic()
    with np.load(job["train"]) as file:
        data = {name: file[name] for name in file.files}
    sequences = rows_of(data["values"], data["offsets"])
    features = rows_of(data["features"], data["feature_offsets"]) if "features" in data else None

    config = configure(job, features is not None)
    if job["gpu"] and config["device"].type != "cuda":  # RecBole would silently use the CPU
        raise RuntimeError(f"torch of {sys.executable} sees no GPU: use --device cpu")
    init_seed(config["seed"], config["reproducibility"])

    # RecBole reads files, so write the training part and let RecBole build its data set.
    sequential = job["sequential"]
    longest = config["MAX_ITEM_LIST_LENGTH"]
    write("data", sequences, int(job["n_items"]), features, sequential, longest)
    dataset = create_dataset(config)
    (part,) = dataset.build()
    if sequential:
        widen(part, longest)
    loader = get_dataloader(config, "train")(config, part, sampler(config, dataset, part), shuffle=config["shuffle"])
    batches = Batches(loader, host, began + job["time_limit"])

    def make(config):
        """The untrained model, the same at every call."""
        init_seed(config["seed"], config["reproducibility"])
        return get_model(config["model"])(config, part).to(config["device"])

    if job["model"] == "S3Rec":
        config = pretrained(job, config, make, batches, host)
    model = make(config)
    ranker = Ranker(config, model, dataset, len(sequences), int(job["n_items"]), sequential)
    facts = fit(config, model, batches, ranker, job, host)
    return ranker, {**facts, "examples_per_epoch": len(part), "settings": settings_of(config)}


def configure(job, with_features, **more):
    """RecBole's configuration: its defaults, then the parameters of the job, then what the bridge sets."""
    columns = ["item_id", "class"] if with_features else ["item_id"]
    fixed = {
        "data_path": "data",
        "benchmark_filename": [TRAIN],
        "load_col": {"inter": ["user_id", "item_id", "item_id_list"], "user": ["user_id"], "item": columns},
        "alias_of_item_id": ["item_id_list"] if job["sequential"] else None,
        "checkpoint_dir": "saved",
        "show_progress": False,
        "seed": job["seed"],
        "gpu_id": job["gpu"],
        "valid_metric": "NDCG@10",
    }

    return Config(model=job["model"], dataset=NAME, config_dict={**job["parameters"], **fixed, **more})


def widen(part, longest):
    """Pad histories to the full width: the shapes of some models depend on it."""
    histories = part.inter_feat["item_id_list"]
    padded = torch.nn.functional.pad(histories, (0, longest - histories.shape[1]))
    part.inter_feat.interaction["item_id_list"] = padded
    part.field2seqlen["item_id_list"] = longest


def sampler(config, dataset, part):
    """The sampler of negatives, as RecBole's `create_samplers` makes it, but from the training part alone."""
    arguments = config["train_neg_sample_args"]
    if arguments["distribution"] == "none":
        return None
    kind, source = (RepeatableSampler, dataset) if config["repeatable"] else (Sampler, [part])
    return kind([TRAIN], source, arguments["distribution"], arguments["alpha"]).set_phase(TRAIN)


def pretrained(job, config, make, batches, host):
    """Run S3Rec's first stage, in at most half of the time; returns the configuration of the second."""
    ends, batches.ends = batches.ends, (time.monotonic() + batches.ends) / 2
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, make(config))
    trainer.save_step = trainer.pretrain_epochs
    one_epoch = trainer._train_epoch

    def epoch(train_data, number, *args, **kwargs):
        if number and time.monotonic() > batches.ends:
            raise OutOfTime
        loss = one_epoch(train_data, number, *args, **kwargs)
        host.send(pretrained=number + 1, epochs=trainer.pretrain_epochs, loss=total(loss))
        return loss

    trainer._train_epoch = epoch
    try:
        trainer.pretrain(batches)
    except OutOfTime:
        trainer.save_pretrained_model(0, "saved/pretrained.pth")
    batches.ends, batches.cut = ends, False
    return configure(job, True, train_stage="finetune", pre_model_path=trainer.saved_model_file)


def fit(config, model, batches, ranker, job, host):
    """Run RecBole's trainer to its end, its early stop or the time limit, and load the best weights."""
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    history, began = [], time.monotonic()
    one_epoch = trainer._train_epoch

    def epoch(train_data, number, *args, **kwargs):
        if number and time.monotonic() > batches.ends:
            raise OutOfTime
        started = time.monotonic()
        loss = one_epoch(train_data, number, *args, **kwargs)
        seconds = round(time.monotonic() - started, 3)
        history.append({"epoch": number + 1, "loss": total(loss) / max(1, batches.done), "seconds": seconds})
        host.send(epoch=number + 1, epochs=trainer.epochs, loss=history[-1]["loss"])
        return loss

    def validate(*_, **__):
        host.send(validate=True)
        while "score" not in (message := host.receive()):
            ranker.answer(message)
            host.send(ranked=message["into"])
        score = message["score"]
        history[-1]["ndcg@10"] = score
        return score, {"ndcg@10": score}

    trainer._train_epoch, trainer._valid_epoch = epoch, validate
    host.send(phase="training", epochs=trainer.epochs, parameters=parameter_counts(model))
    closed = config["MODEL_TYPE"] == ModelType.TRADITIONAL

    try:
        trainer.fit(batches, ["the host's"] if job["validate"] else None, saved=True)
        stopped = trainer.cur_step > trainer.stopping_step
        ended = "closed form" if closed else "early stop" if stopped else "epochs"
    except OutOfTime:
        ended = "time limit"
    if batches.cut and not closed:  # whatever the validation after half an epoch gave
        ended = "time limit"

    checkpoint = torch.load(trainer.saved_model_file, map_location=config["device"])
    model.load_state_dict(checkpoint["state_dict"])
    model.load_other_parameter(checkpoint.get("other_parameter"))
    return {
        "epochs": len(history),
        "best_epoch": checkpoint["epoch"] + 1,
        "history": history,
        "ended_by": ended,
        "converged": ended in ("closed form", "early stop"),
        "seconds": round(time.monotonic() - began, 3),
    }


def total(loss):
    """The loss of an epoch, which RecBole gives as a number or as one per part."""
    return float(sum(loss)) if isinstance(loss, tuple) else float(loss)


def parameter_counts(model):
    """The numbers of trained parameters in embedding tables and elsewhere."""
    tables = {id(table.weight) for table in model.modules() if isinstance(table, torch.nn.Embedding)}
    counts = {"embedding": 0, "other": 0}
    for parameter in model.parameters():
        if parameter.requires_grad:
            counts["embedding" if id(parameter) in tables else "other"] += parameter.numel()
    return counts


def settings_of(config):
    """The parameters of training and model that RecBole ran with, as far as they are plain data."""
    known = {key for names in config.parameters.values() for key in names}
    training = {*config.parameters["Training"], "MAX_ITEM_LIST_LENGTH"}
    hidden = {"model", "dataset", "pre_model_path", "show_progress", "wandb_project", "log_wandb"}
    given = set(config.internal_config_dict) | set(config.external_config_dict)
    kept = {key for key in given if (key in training or key not in known) and key not in hidden and key == key.lower()}

    plain = (bool, int, float, str, list, dict)
    values = {key: config.final_config_dict[key] for key in sorted(kept | {"MAX_ITEM_LIST_LENGTH"})}
    return {key: value for key, value in values.items() if isinstance(value, plain)}
