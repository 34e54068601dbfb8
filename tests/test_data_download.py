"""Downloads: fetched once, checked, shown on a bar, and one clear line where they fail. The server is this process."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genrec_bench.core.progress import Quiet
from genrec_bench.data.download import download
from genrec_bench.errors import DataError
from genrec_bench.host.contracts import DatasetContext

CONTENT = bytes(range(256)) * 10
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """The address of a server that has /set.txt, and the list of paths it was asked for."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if self.path == "/set.txt" else 404)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}", asked
        serving.shutdown()
        thread.join()


def test_a_file_is_fetched_once(server, tmp_path):
    address, asked = server
    for _ in range(2):
        path = download(DatasetContext(cache_dir=tmp_path), f"{address}/set.txt", SHA256, "")
        assert path.read_bytes() == CONTENT
    assert asked == ["/set.txt"]


def test_the_bar_is_opened_with_the_size_and_filled_exactly(server, tmp_path):
    class Bar(Quiet):
        steps, opened = 0, None

        def phase(self, name, total=None, unit=""):
            self.opened = (name, total, unit)
            return self

        def __enter__(self):
            return lambda steps=1, note="": setattr(self, "steps", self.steps + steps)

        def __exit__(self, *args):
            pass

    bar = Bar()
    download(DatasetContext(cache_dir=tmp_path, progress=bar), f"{server[0]}/set.txt", SHA256, "")
    assert bar.opened == ("downloading set.txt", len(CONTENT), "B")
    assert bar.steps == len(CONTENT)


def refused(tmp_path, url, known_hash=SHA256):
    with pytest.raises(DataError) as caught:
        download(DatasetContext(cache_dir=tmp_path), url, known_hash, "Do this instead.")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(". Do this instead.")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    return str(caught.value)


def test_another_content_is_refused_and_not_kept(server, tmp_path):
    assert "its checksum is not the published one" in refused(tmp_path, f"{server[0]}/set.txt", "sha256:" + "0" * 64)


def test_a_missing_file_is_told_with_the_servers_answer(server, tmp_path):
    assert "the server answered 404" in refused(tmp_path, f"{server[0]}/absent.txt")


def test_a_server_that_is_not_there_is_told_in_one_line(server, tmp_path, monkeypatch):
    assert "ConnectionError (is there a network?)" in refused(tmp_path, "http://127.0.0.1:9/set.txt")
