"""The options that all semantic indexers share: where an item's vector comes from. Checked before any data is read.

Knows which options go together, not how a vector is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from genrec_bench.api import SASREC_HEADS, expand_home, file_digest, folder_digest, sasrec_fingerprint

Encoder = Literal["auto", "tfidf", "sentence-transformers", "array", "cooccurrence", "sasrec"]
OF_INTERACTIONS = ("cooccurrence", "sasrec")  # encoders that read the training part
Fields = Literal["auto", "titles", "features", "both"]
ENDINGS = (".npz", ".npy", ".safetensors", ".parquet")


@dataclass(frozen=True)
class ContentConfig:
    """Where the vectors come from. ValueError for options that exclude each other and for files that are not there."""

    encoder: Encoder = (
        "auto"  # auto: array or sentence-transformers if given, else tfidf; the last two read interactions
    )
    fields: Fields = "auto"  # what is read; auto: all there is (tfidf) or the titles (sentence-transformers)
    dimensions: PositiveInt = 64  # length of the vectors: after the truncated SVD (tfidf, cooccurrence), or of sasrec's
    sasrec_epochs: PositiveInt = 50  # sasrec: passes over the training part
    model: str = ""  # sentence-transformers: a local folder, or a name on the model hub
    array: str = ""  # array: a file of item vectors, .npz, .npy, .safetensors or .parquet
    normalise: bool = True  # scale every vector to length 1

    @model_validator(mode="after")
    def _the_encoder_has_its_input(self) -> Self:
        encoder = self.chosen
        for option, owner in (("model", "sentence-transformers"), ("array", "array")):
            if getattr(self, option) and encoder != owner:
                raise ValueError(f"{option} is for encoder={owner}, and the encoder is {encoder}")
            if encoder == owner and not getattr(self, option):
                raise ValueError(f"encoder={owner} needs {option}=...")

        if encoder == "sentence-transformers" and self.fields not in ("auto", "titles"):
            raise ValueError(
                f"fields={self.fields}: a sentence encoder reads titles only; attribute numbers are not text"
            )

        if encoder == "sasrec" and self.dimensions % SASREC_HEADS:
            raise ValueError(f"dimensions = {self.dimensions}: sasrec has {SASREC_HEADS} heads, which must divide it")

        if encoder in ("array", *OF_INTERACTIONS) and self.fields != "auto":
            raise ValueError(f"fields={self.fields}: encoder={encoder} reads neither titles nor features")

        if encoder == "array":
            path = Path(expand_home(self.array))
            if path.suffix not in ENDINGS:
                raise ValueError(f"array = {self.array!r}: expected a file that ends in {', '.join(ENDINGS)}")
            if not path.is_file():
                where = "" if path.is_absolute() else f" (counted from {Path.cwd()})"
                raise ValueError(f"array = {self.array!r}: no such file{where}")

        return self

    @property
    def chosen(self) -> str:
        """The encoder that `auto` stands for, or the one given."""
        if self.encoder != "auto":
            return self.encoder
        return "array" if self.array else "sentence-transformers" if self.model else "tfidf"

    def fingerprint(self) -> str:
        """SHA-256 of the array file, of the local model's folder or of the code that learns the vectors; empty without any."""
        if self.chosen == "sasrec":
            return sasrec_fingerprint()
        if self.chosen == "array":
            return file_digest(Path(expand_home(self.array)))
        folder = Path(expand_home(self.model))
        return folder_digest(folder) if self.model and folder.is_dir() else ""
