"""Plugins that do what no plugin should, as installed distributions. Each says what its own run may do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Literal

Expected = Literal["refused", "harmless", "seen"]

BASELINE = """\
import numpy as np
from genrec_bench.baselines.popularity import Popularity
{top}

class X(Popularity):
    "A nasty baseline."
{body}
"""
INDEXER = """\
import numpy as np
from dataclasses import replace
from genrec_bench.core.codes import Index
from genrec_bench.indexers.digits import RandomIndexer

class X(RandomIndexer):
    "A nasty indexer."
{body}
"""
DECODER = """\
import numpy as np
from dataclasses import replace
from genrec_bench.decoders.trie import TrieDecoder

class X(TrieDecoder):
    "A nasty decoder."
{body}
"""
BACKBONE = """\
import numpy as np
import torch
from genrec_bench.backbones.lightlm import LightLM

class X(LightLM):
    "A nasty backbone."
{body}
"""
DATASET = """\
import numpy as np
from dataclasses import replace
from genrec_bench.host.contracts import Dataset
from genrec_bench.testing.planted_data import planted_interactions

class X(Dataset):
    "A nasty data set."
{body}
"""
TEMPLATES = {
    "baselines": BASELINE,
    "indexers": INDEXER,
    "decoders": DECODER,
    "backbones": BACKBONE,
    "datasets": DATASET,
}


@dataclass(frozen=True)
class Plugin:
    """One distribution. `files` replace or add files in its site folder; {name} stands for the plugin's name."""

    name: str
    kind: str
    code: str
    expected: Expected
    point: str = ""  # the name that users type; the plugin's own by default
    points: bytes | None = None
    metadata: bytes | None = None

    @property
    def module(self) -> str:
        """The name of its module."""
        return "nasty_" + "".join(letter if letter.isalnum() else "_" for letter in self.name)

    def install(self, site: Path) -> None:
        """Lay it out in a folder of `sys.path`, as an installer would."""
        facts = site / f"{self.module}-1.0.dist-info"
        facts.mkdir(parents=True)
        points = f"[genrec_bench.{self.kind}]\n{self.asked} = {self.module}:X\n".encode()
        (facts / "entry_points.txt").write_bytes(points if self.points is None else self.points)
        metadata = f"Metadata-Version: 2.1\nName: {self.module}\nVersion: 1.0\n".encode()
        if self.metadata != b"":
            (facts / "METADATA").write_bytes(self.metadata or metadata)
        (site / f"{self.module}.py").write_text(self.code)

    @property
    def asked(self) -> str:
        """The name that users type."""
        return self.point or self.name


def with_top(name: str, top: str, expected: Expected = "harmless") -> Plugin:
    """A baseline whose module does something when it is imported."""
    return Plugin(name, "baselines", BASELINE.format(top=dedent(top), body="    pass"), expected)


def with_body(name: str, body: str, expected: Expected = "refused", kind: str = "baselines", top: str = "") -> Plugin:
    """A component with a method that breaks its contract, or does something else."""
    text = indent(dedent(body).strip("\n"), "    ")
    return Plugin(name, kind, TEMPLATES[kind].format(top=dedent(top), body=text), expected)


def ranks(name: str, change: str, expected: Expected = "refused") -> Plugin:
    """A baseline that hands back something else than its ranking `r`."""
    body = f"""
        def rank(self, queries, *, k, exclude=None):
            from dataclasses import replace
            r = super().rank(queries, k=k, exclude=exclude)
            items, scores = r.items.copy(), r.scores.copy()
            {change}
    """
    return with_body(name, body, expected)


def fits(name: str, act: str, expected: Expected = "harmless", top: str = "") -> Plugin:
    """A baseline that does something while it is fitted."""
    body = f"""
        def fit(self, train, ctx):
            super().fit(train, ctx)
            {act}
    """
    return with_body(name, body, expected, top=top)


def pointing(name: str, target: str, expected: Expected = "refused") -> Plugin:
    """A sound baseline behind an entry point that says something else than `module:X`."""
    sound = BASELINE.format(top="", body="    pass")
    module = Plugin(name, "baselines", sound, expected).module
    points = f"[genrec_bench.baselines]\n{name} = {target.replace('MODULE', module)}\n".encode()
    return Plugin(name, "baselines", sound, expected, points=points)


SOUND = BASELINE.format(top="", body="    pass")
FOREVER = "import threading, time; threading.Thread(target=time.sleep, args=(10_000,)).start()"
HONEST = "genrec_bench.protocol.scores"
CHEAT = "from genrec_bench.protocol import scores as s; h = s.score; s.score = lambda r, t: h(r, r.items[:, 0])"

METADATA = [
    Plugin("nameless", "baselines", SOUND, "refused", metadata=b"Version: 1\n"),
    Plugin("no-metadata", "baselines", SOUND, "refused", metadata=b""),
    Plugin("latin", "baselines", SOUND, "refused", metadata=b"Name: latin-\xe9\nVersion: 1\n"),
    Plugin("no-version", "baselines", SOUND, "harmless", metadata=b"Name: no-version\n"),
    Plugin("bytes", "baselines", SOUND, "refused", points=b"[genrec_bench.baselines\n\xff\xfe= = =\n"),
    Plugin("garbled", "baselines", SOUND, "refused", points=b"[genrec_bench.baselines]\ngarbled garbled\n=\n= = =\n"),
    Plugin(
        "twice",
        "baselines",
        SOUND,
        "refused",
        points=b"[genrec_bench.baselines]\ntwice = nasty_twice:X\ntwice = nasty_twice:Y\n",
    ),
    Plugin("clash-popularity", "baselines", SOUND, "refused", "popularity"),
    Plugin("clash-trie", "decoders", DECODER.format(body="    pass"), "refused", "trie"),
    Plugin("clash-random", "indexers", INDEXER.format(body="    pass"), "refused", "random"),
    Plugin("clash-file", "datasets", DATASET.format(body="    pass"), "refused", "file"),
    Plugin("impersonates", "baselines", SOUND, "harmless", "popularity", metadata=b"Name: genrec-bench\nVersion: 9\n"),
    Plugin(
        "escapes",
        "baselines",
        SOUND,
        "refused",
        points=b"[genrec_bench.baselines]\n\x1b[31mred/../x = nasty_escapes:X\n",
    ),
    pointing("no-module", "nowhere_at_all:X"),
    pointing("no-attribute", "MODULE:Y"),
    pointing("no-colon", "MODULE"),
    pointing("no-class", "MODULE:np"),
    pointing("deep", "MODULE:X.fit"),
    pointing("somebody-elses", "json:dumps"),
    with_body("contract-99", "contract = 99"),
    with_body("contract-text", "contract = 'one'"),
    with_body("abstract", "import abc\n@abc.abstractmethod\ndef more(self): ..."),
    with_body(
        "config-unknown", "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Config:\n    a: 'Nope' = 1"
    ),
    with_body("config-none", "Config = None"),
    with_body("config-thawed", "class Config:\n    a = []"),
    with_body("needs-text", "needs = 7"),
]
IMPORTS = [
    Plugin("syntax", "baselines", "class X(:\n", "refused"),
    with_top("raises", "raise RuntimeError('boom\\nat import')", "refused"),
    with_top("exits", "raise SystemExit('boom')", "refused"),
    with_top("exits-well", "import sys; sys.exit(0)", "refused"),
    with_top("interrupts", "raise KeyboardInterrupt", "refused"),
    with_top("base-exception", "class Odd(BaseException): pass\nraise Odd('odd')", "refused"),
    with_top("recursion", "def f(): f()\nf()", "refused"),
    with_top("other-folder", "import os; os.chdir('/')"),
    with_top("prints", "import os; print('hello'); os.write(1, b'written\\n')"),
    with_top("warnings-are-errors", "import warnings; warnings.simplefilter('error')"),
    with_top("empties-path", "import sys; sys.path.clear()"),
    with_top("double", "import torch; torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False)"),
    with_top("raises-numerically", "np.seterr(all='raise')"),
    with_top("seeds", "import random; random.seed(1); np.random.seed(1)"),
    with_top(
        "locale",
        "import locale, contextlib\nwith contextlib.suppress(locale.Error):\n    locale.setlocale(locale.LC_ALL, 'de_DE.UTF-8')",
    ),
    with_top(
        "signals",
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    ),
    with_top("thread", FOREVER),
    with_top(
        "spins",
        "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin, daemon=True).start()",
    ),
    with_top("scorer", CHEAT),
    with_top("shallow", "import sys; sys.setrecursionlimit(120)"),
    with_top("closes-stdout", "import os; os.close(1)"),
    with_top("closes-sys-stdout", "import sys; sys.stdout.close()"),
    with_top("no-stdout", "import sys; sys.stdout = None"),
    with_top("no-stderr", "import sys; sys.stderr = None"),
    with_top("umask", "import os; os.umask(0o777)"),
    with_top("variables", "import os; os.environ.clear()"),
    with_top("no-collection", "import gc; gc.disable()"),
    with_top("at-exit", "import atexit, os; atexit.register(os._exit, 0)", "harmless"),
    with_top("at-exit-raises", "import atexit\ndef late(): raise RuntimeError('late')\natexit.register(late)"),
    with_top("open-files", "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))"),
    with_top("sorts", "np.argsort = lambda a, *b, **c: np.zeros(np.shape(a), np.int64)"),
    with_top("dumps", "import json; json.dumps = lambda *a, **b: '{}'"),
    with_top("clock", "import time; time.perf_counter = lambda: 0.0; time.time = lambda: 0.0"),
    with_top("tracing", "import sys; sys.settrace(lambda *a: None)"),
    with_top(
        "record", "from genrec_bench.runs import record\nrecord.RunRecord.write = lambda self, folder: None", "harmless"
    ),
    with_top("digests", "from genrec_bench.core import hashing\nhashing.digest = lambda *a: '0' * 64"),
]
CONTRACTS = [
    ranks("gives-none", "return None"),
    ranks("gives-a-list", "return r.items.tolist()"),
    ranks("gives-a-generator", "return (row for row in items)"),
    ranks("fewer-lists", "return replace(r, items=items[1:], scores=scores[1:])"),
    ranks("float-items", "return replace(r, items=items.astype(float))"),
    ranks("object-items", "return replace(r, items=items.astype(object))"),
    ranks("nan-scores", "scores[:, 0] = np.nan; return replace(r, scores=scores)"),
    ranks("rising-scores", "return replace(r, scores=-scores)"),
    ranks("twice-an-item", "items[:, 1] = items[:, 0]; return replace(r, items=items)"),
    ranks("unknown-items", "return replace(r, items=items + 1_000)"),
    ranks("negative-items", "items[:, 0] = -7; return replace(r, items=items)"),
    ranks(
        "huge",
        "return replace(r, items=np.tile(np.arange(10**6, dtype=np.int32), (len(items), 1)), scores=np.zeros((len(items), 10**6), np.float32), depth=10**6)",
    ),
    ranks("listed-text", "return 'items'"),
    ranks("forgets-exclude", "return super().rank(queries, k=k)"),
    ranks("frozen-score-edited", "object.__setattr__(r, 'items', items[:, ::-1]); return r", "refused"),
    ranks("stops", "raise StopIteration"),
    fits("cancelled", "import asyncio; raise asyncio.CancelledError", "refused"),
    fits("long-message", "raise ValueError('x' * 10**6)", "refused"),
    fits("lines", "raise ValueError('a\\nb\\x1b[31m\\u202e')", "refused"),
    fits("silent", "raise ValueError", "refused"),
    fits(
        "no-text",
        "class Odd(Exception):\n        def __str__(self): raise RuntimeError\n    raise Odd".replace(
            "\n", "\n        "
        ),
        "refused",
    ),
    fits("surrogate", "raise ValueError('\\ud800')", "refused"),
    fits("exits-while-fitting", "raise SystemExit(0)", "refused"),
    fits("interrupts-while-fitting", "raise KeyboardInterrupt", "refused"),
    fits("thread-while-fitting", FOREVER),
    fits("scorer-while-fitting", CHEAT),
    fits("folder-removed", "import os, tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)"),
    fits("clears-run-folder", "import shutil, pathlib; [p.unlink() for p in pathlib.Path('runs').glob('*/spec.json')]"),
    fits("kills-itself", "import os; os.kill(os.getpid(), 9)", "refused"),
    fits("segfault", "import ctypes; ctypes.string_at(0)", "refused"),
    with_body("facts-nan", "def facts(self): return {'x': float('nan')}"),
    with_body("facts-array", "def facts(self): return {'x': np.zeros(3)}"),
    with_body("facts-none", "def facts(self): return None"),
    with_body("facts-surrogate", "def facts(self): return {'x': '\\ud800'}"),
    with_body("facts-epochs", "def facts(self): return {'epochs': 'many'}"),
    with_body("codes-none", "def build(self, train, ctx): return None", kind="indexers"),
    with_body(
        "codes-equal",
        "def build(self, train, ctx): return Index.from_labels(np.zeros((train.n_items, 1), np.int32))",
        kind="indexers",
    ),
    with_body(
        "codes-few",
        "def build(self, train, ctx): return Index.from_labels(np.arange(3, dtype=np.int32)[:, None])",
        kind="indexers",
    ),
    with_body(
        "codes-info",
        "def build(self, train, ctx): return replace(super().build(train, ctx), info={'x': np.zeros(2)})",
        kind="indexers",
    ),
    with_body("emits-none", "def generate(self, *a, **b): return None", kind="decoders"),
    with_body(
        "emits-nan",
        "def generate(self, *a, **b):\n    g = super().generate(*a, **b)\n    return replace(g, scores=g.scores * np.float32('nan'))",
        kind="decoders",
    ),
    with_body(
        "emits-others",
        "def generate(self, *a, **b):\n    g = super().generate(*a, **b)\n    return replace(g, items=np.roll(g.items, 1, axis=1))",
        kind="decoders",
    ),
    with_body("fit-none", "def fit(self, examples, ctx): return None", kind="backbones"),
    with_body(
        "logits-nan",
        "def logits(self, hidden, candidates=None):\n    return super().logits(hidden, candidates) * float('nan')",
        kind="backbones",
    ),
    with_body("saves-nothing", "def save(self, folder): pass", kind="backbones"),
    with_body("template-none", "def template(self, task, index): return None", kind="backbones"),
    with_body("loads-a-table", "def load(self, ctx): return {}", kind="datasets"),
    with_body(
        "loads-negative",
        "def load(self, ctx):\n    d = planted_interactions()\n    return replace(d, user=d.user - 5)",
        kind="datasets",
    ),
    with_body(
        "loads-one-id",
        "def load(self, ctx):\n    d = planted_interactions()\n    return replace(d, item_ids=np.full(d.n_items, 'x'))",
        kind="datasets",
    ),
]


def steals(name: str, act: str, where: str = "fit", top: str = "") -> Plugin:
    """A baseline that reads the held-out data somewhere."""
    text = indent(dedent(act).strip("\n"), " " * 4)
    if where == "import":
        return Plugin(name, "baselines", BASELINE.format(top=dedent(act), body="    pass"), "seen")
    head = {
        "fit": "def fit(self, train, ctx):",
        "ready": "def ready(self):",
        "rank": "def rank(self, queries, *, k, exclude=None):",
    }
    last = {
        "fit": "super().fit(train, ctx)",
        "ready": "pass",
        "rank": "return super().rank(queries, k=k, exclude=exclude)",
    }
    return with_body(name, f"{head[where]}\n{text}\n    {last[where]}", "seen", top=top)


HIDES = "try:\n    {}\nexcept BaseException:\n    pass"
HELD_OUT = [
    steals("reads-at-import", "open('planted.txt').read()", "import"),
    steals("reads-in-ready", "open('planted.txt').read()", "ready"),
    steals("reads-in-fit", "open('planted.txt').read()"),
    steals("reads-in-rank", "open('planted.txt').read()", "rank"),
    steals("reads-and-hides", HIDES.format("open('planted.txt').read()")),
    steals("reads-by-path", HIDES.format("__import__('pathlib').Path('planted.txt').resolve().read_bytes()")),
    steals("reads-by-descriptor", "import os\n" + HIDES.format("os.read(os.open(b'planted.txt', os.O_RDONLY), 9)")),
    steals("reads-by-link", "import os\nos.symlink('planted.txt', 'notes')\n" + HIDES.format("open('notes').read()")),
    steals(
        "reads-by-code-link",
        "import os\nos.symlink('planted.txt', 'notes.py')\n" + HIDES.format("open('notes.py').read()"),
    ),
    steals("reads-by-hard-link", "import os\nos.link('planted.txt', 'notes')\n" + HIDES.format("open('notes').read()")),
    steals("reads-a-copy", "import shutil\n" + HIDES.format("shutil.copy('planted.txt', 'copy')")),
    steals(
        "reads-after-a-move",
        "import os\nos.rename('planted.txt', 'moved')\n"
        + HIDES.format("open('moved').read()")
        + "\nos.rename('moved', 'planted.txt')",
    ),
    steals(
        "reads-from-a-folder",
        "import os\nd = os.open('.', os.O_RDONLY)\n"
        + HIDES.format("os.read(os.open('planted.txt', os.O_RDONLY, dir_fd=d), 9)"),
    ),
    steals("reads-by-proc", HIDES.format("open('/proc/self/cwd/planted.txt').read()")),
    steals(
        "reads-in-a-thread",
        "import threading\nt = threading.Thread(target=lambda: open('planted.txt').read())\nt.start(); t.join()",
    ),
    steals(
        "reads-in-a-timer",
        "import threading\nthreading.Timer(0.0, lambda: open('planted.txt').read()).start()\n__import__('time').sleep(0.1)",
    ),
    steals("reads-the-cache", "import glob\n" + HIDES.format("np.load(glob.glob('cache/data/*/item.npy')[0])")),
    steals(
        "maps-the-cache",
        "import glob\n" + HIDES.format("np.load(glob.glob('cache/data/*/item.npy')[0], mmap_mode='r')"),
    ),
    steals("reads-code", "import io, os\n" + HIDES.format("io.open_code(os.path.abspath('planted.txt')).read()")),
    steals("reads-a-stream", "import io\n" + HIDES.format("io.FileIO('planted.txt').read()")),
]
GROUPS = {"metadata": METADATA, "imports": IMPORTS, "contracts": CONTRACTS, "held-out data": HELD_OUT}
