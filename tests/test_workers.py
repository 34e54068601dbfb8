"""Worker processes: messages come and go, and whatever ends a worker is one error with the end of its log."""

import time

import pytest

from genrec_bench.host import workers
from genrec_bench.host.workers import Worker, WorkerFailed, WorkerTimeout, python

ECHO = """
import sys
from genrec_bench.host.workers import Host
host = Host()
while True:
    message = host.receive()
    print("printed, not sent")
    host.send(said=message["say"], stdin=sys.stdin.read())
"""


def soon(seconds: float = 60) -> float:
    return time.monotonic() + seconds


def test_messages_go_both_ways_and_prints_go_to_the_log(tmp_path):
    worker = Worker(python(ECHO), tmp_path / "log")
    for word in ("one", "zwölf"):
        worker.send({"say": word})
        assert worker.receive(soon()) == {"said": word, "stdin": ""}
    worker.close()
    assert "printed, not sent" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; os._exit(3)", r"^ended by itself \(exit code 3\)$"),
        ("import os; os.abort()", "^was killed by SIGABRT$"),
        ("print('Segmentation fault, or so')", "^wrote what is not a message: 'Segmentation fault, or so'$"),
    ],
)
def test_a_worker_that_ends_or_babbles_has_failed(code, why):
    code = f"import sys; print('\\x1b[1;36mlast words\\x1b[0m', file=sys.stderr, flush=True); {code}"
    with pytest.raises(WorkerFailed, match=why) as caught:
        Worker(python(code)).receive(soon())
    assert caught.value.log == ("last words",)


def test_a_silent_worker_is_stopped_in_time():
    worker = Worker(python("import time; time.sleep(60)"))
    with pytest.raises(WorkerTimeout, match="did not wake up within its time limit"):
        worker.receive(soon(0.3), "wake up")
    assert worker._process.returncode == -9


def test_a_worker_that_is_dropped_is_ended():
    worker = Worker(python("import time; time.sleep(60)"))
    process, folder = worker._process, worker.folder
    assert folder.exists()
    del worker
    assert process.wait(timeout=10) == -9 and not folder.exists()


def test_long_lines_of_a_log_are_cut(tmp_path):
    (tmp_path / "log").write_text(f"first\n\n{'x' * 5000}\n")
    first, second = workers.tail(tmp_path / "log")
    assert first == "first" and second == "x" * workers.LONGEST + "..."
