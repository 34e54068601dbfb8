# ruff: noqa: I001  (grouped by what the names are for)

# What each kind of component is, and what it may use.
from .host.contracts import Backbone as Backbone
from .host.contracts import BackboneContext as BackboneContext
from .host.contracts import Baseline as Baseline
from .host.contracts import BaselineContext as BaselineContext
from .host.contracts import Candidates as Candidates
from .host.contracts import Dataset as Dataset
from .host.contracts import DatasetContext as DatasetContext
from .host.contracts import Decoder as Decoder
from .host.contracts import DecoderContext as DecoderContext
from .host.contracts import FitReport as FitReport
from .host.contracts import Indexer as Indexer
from .host.contracts import IndexerContext as IndexerContext
from .host.contracts import Normalisation as Normalisation
from .host.contracts import START as START
from .host.contracts import Task as Task
from .host.contracts import Template as Template

# Options: how they are made and described, and ranges beside pydantic's own.
from .host.config import config_dict as config_dict
from .host.config import describe_config as describe_config
from .host.config import make_config as make_config
from .host.ranges import Share as Share
from .host.ranges import TwoOrMore as TwoOrMore

# Data.
from .core.arrays import Bool as Bool
from .core.arrays import Float32 as Float32
from .core.arrays import Int32 as Int32
from .core.arrays import Int64 as Int64
from .core.arrays import PAD as PAD
from .core.arrays import Ragged as Ragged
from .core.arrays import Text as Text
from .core.events import Interactions as Interactions
from .core.rankings import Generations as Generations
from .core.rankings import NOT_AN_ITEM as NOT_AN_ITEM
from .core.rankings import NO_HYPOTHESIS as NO_HYPOTHESIS
from .core.rankings import Ranking as Ranking
from .core.sequences import Examples as Examples
from .core.sequences import Queries as Queries
from .core.sequences import Sources as Sources
from .core.sequences import TrainView as TrainView

# Data sets, the protocol's split, and the score of ranked lists.
from .data.loading import load_dataset as load_dataset
from .protocol.scores import score as score
from .protocol.split import split_data as split_data
from .protocol.split import train_view as train_view

# Codes, which indexers give.
from .core.codes import CodeTable as CodeTable
from .core.codes import Index as Index
from .core.codes import TokenScope as TokenScope
from .core.codes import add_suffix as add_suffix
from .core.codes import digits as digits
from .core.codes import digits_needed as digits_needed

# Item vectors from the training part, for indexers that quantise vectors.
from .core.ids import whole_number as whole_number
from .core.tables.roles import numbered_columns as numbered_columns
from .core.item_vectors import cooccurrence_vectors as cooccurrence_vectors
from .indexers.learned_vectors import SASREC_HEADS as SASREC_HEADS
from .indexers.learned_vectors import check_sasrec as check_sasrec
from .indexers.learned_vectors import sasrec_fingerprint as sasrec_fingerprint
from .indexers.learned_vectors import sasrec_vectors as sasrec_vectors

# What backbones are made of.
from .backbones.base import FixedShapes as FixedShapes
from .backbones.base import TorchBackbone as TorchBackbone
from .backbones.base import forked as forked
from .backbones.batches import longest_word as longest_word
from .backbones.batches import pad_words as pad_words
from .backbones.batches import visible_words as visible_words
from .backbones.candidates import candidate_logits as candidate_logits
from .backbones.checkpoints import load_whole as load_whole
from .backbones.hf_t5 import local_files as local_files
from .backbones.target_trees import TargetTrees as TargetTrees
from .backbones.target_trees import TreeBatch as TreeBatch
from .backbones.target_trees import build_trees as build_trees
from .backbones.target_trees import latest_targets as latest_targets
from .backbones.target_trees import take_batch as take_batch
from .backbones.templates import IdTemplate as IdTemplate
from .backbones.trainer import TrainingConfig as TrainingConfig
from .backbones.trainer import fit as fit

# What decoders are made of.
from .decoders.base import SearchConfig as SearchConfig
from .decoders.base import Searching as Searching
from .decoders.beam_search import Answer as Answer
from .decoders.beam_search import Beam as Beam
from .decoders.beam_search import Rank as Rank
from .decoders.beam_search import Searched as Searched
from .decoders.beam_search import beam_search as beam_search
from .decoders.beam_search import excluded_leaves as excluded_leaves
from .decoders.beam_search import extend as extend
from .decoders.beam_search import to_generations as to_generations
from .decoders.beam_search import walk as walk
from .decoders.csr_trie import Trie as Trie
from .decoders.exact import ExactConfig as ExactConfig
from .decoders.exact import ExactDecoder as ExactDecoder
from .decoders.trie import TrieConfig as TrieConfig
from .decoders.trie import TrieDecoder as TrieDecoder

# Progress, digests and worker processes.
from .core.files import expand_home as expand_home
from .core.files import file_digest as file_digest
from .core.files import folder_digest as folder_digest
from .core.hashing import digest as digest
from .core.hashing import mix as mix
from .core.progress import Progress as Progress
from .core.progress import Quiet as Quiet
from .host.workers import Worker as Worker
from .host.workers import WorkerFailed as WorkerFailed
from .host.workers import WorkerTimeout as WorkerTimeout
from .host.workers import temporary_folder as temporary_folder

# Errors.
from .errors import CodeClash as CodeClash
from .errors import ConfigError as ConfigError
from .errors import DataError as DataError
from .errors import DeviceMissing as DeviceMissing
from .errors import Diverged as Diverged
from .errors import GenrecError as GenrecError
from .errors import NeedsMissing as NeedsMissing
from .errors import OutputError as OutputError
from .errors import UnknownComponent as UnknownComponent
from .errors import UsageError as UsageError
from .errors import did_you_mean as did_you_mean
