"""Downloads against a local server that can serve wrong content, cut connections and refuse ranges."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from prune_env.errors import ConfigError, DownloadError, IntegrityError, OutputError
from prune_env.victims.download import Source, check, fetch, read_sources

COMMIT = "c" * 40
CONTENT = np.random.default_rng(0).bytes(300_000)


@dataclass
class Mirror:
    """What the server serves, how it misbehaves, and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    errors: list[int] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)


def _handler(mirror: Mirror) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, wanted = unquote(self.path), self.headers.get("Range")
            mirror.requests.append((path, wanted))
            if mirror.errors:
                return self.send_error(mirror.errors.pop(0))
            if path not in mirror.files:
                return self.send_error(404)
            body, start = mirror.files[path], 0
            if wanted and mirror.ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = mirror.cuts.pop(0) if mirror.cuts else len(body)
            self.wfile.write(body[start:end])
            return None

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keeps the test's output quiet."""

    return Handler


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("NO_PROXY", "*")
    served = Mirror()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(served)) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def _serve(mirror: Mirror, file: str = "a/one.tsv", content: bytes = CONTENT) -> Source:
    """Serves `content` under a path with a space, and returns the source that expects it."""
    path = f"Clean Data/{file}"
    mirror.files[f"/owner/name/{COMMIT}/{path}"] = content
    return Source(file, "owner/name", COMMIT, path, hashlib.sha256(content).hexdigest(), len(content))


def test_downloads_every_file_and_leaves_nothing_else(mirror: Mirror, tmp_path: Path) -> None:
    sources = (_serve(mirror), _serve(mirror, "b/two.tsv", b"label\ttext\n"))
    seen: dict[str, int] = {}
    fetched = fetch(tmp_path, mirror.url, sources=sources, progress=lambda source, n: seen.update({source.file: n}))
    assert fetched == sources
    assert (tmp_path / "a/one.tsv").read_bytes() == CONTENT
    assert seen == {source.file: source.bytes for source in sources}
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["one.tsv", "two.tsv"]
    assert [problem for _, problem in check(tmp_path, sources)] == [None, None]


def test_asks_for_nothing_when_everything_is_there(mirror: Mirror, tmp_path: Path) -> None:
    source = _serve(mirror)
    fetch(tmp_path, mirror.url, sources=[source])
    mirror.requests.clear()
    assert fetch(tmp_path, mirror.url, sources=[source]) == ()
    assert mirror.requests == []


def test_goes_on_where_the_connection_was_cut(mirror: Mirror, tmp_path: Path) -> None:
    source = _serve(mirror)
    mirror.cuts = [100_000]
    fetch(tmp_path, mirror.url, sources=[source], pause=0)
    assert [wanted for _, wanted in mirror.requests] == [None, "bytes=100000-"]
    assert (tmp_path / source.file).read_bytes() == CONTENT


def test_a_later_run_resumes_what_an_earlier_one_gave_up(mirror: Mirror, tmp_path: Path) -> None:
    source = _serve(mirror)
    mirror.cuts = [1_000, 2_000, 3_000]
    with pytest.raises(DownloadError, match=r"3000 bytes before the connection ended.*run the same command again"):
        fetch(tmp_path, mirror.url, sources=[source], pause=0)
    assert not (tmp_path / source.file).exists()
    mirror.requests.clear()
    fetch(tmp_path, mirror.url, sources=[source], pause=0)
    assert [wanted for _, wanted in mirror.requests] == ["bytes=3000-"]
    assert (tmp_path / source.file).read_bytes() == CONTENT


def test_starts_again_where_the_server_ignores_ranges(mirror: Mirror, tmp_path: Path) -> None:
    source = _serve(mirror)
    mirror.cuts, mirror.ranges = [100_000], False
    fetch(tmp_path, mirror.url, sources=[source], pause=0)
    assert (tmp_path / source.file).read_bytes() == CONTENT


@pytest.mark.parametrize("kept", [b"damaged", b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
def test_a_damaged_part_is_thrown_away_once(mirror: Mirror, tmp_path: Path, kept: bytes) -> None:
    source = _serve(mirror)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.tsv.part").write_bytes(kept)
    fetch(tmp_path, mirror.url, sources=[source], pause=0)
    assert (tmp_path / source.file).read_bytes() == CONTENT


@pytest.mark.parametrize("served", [CONTENT[::-1], CONTENT + b"more"])
def test_other_content_is_refused_and_not_kept(mirror: Mirror, tmp_path: Path, served: bytes) -> None:
    source = _serve(mirror)
    mirror.files = dict.fromkeys(mirror.files, served)
    with pytest.raises(DownloadError, match=f"expected 300000 bytes with SHA-256 {source.sha256}.*got content"):
        fetch(tmp_path, mirror.url, sources=[source], pause=0)
    assert not (tmp_path / source.file).exists()
    assert len(mirror.requests) == 1


def test_not_found_is_not_tried_again(mirror: Mirror, tmp_path: Path) -> None:
    source = _serve(mirror)
    mirror.files.clear()
    with pytest.raises(DownloadError, match=r"a/one.tsv: expected .*Clean%20Data.*got HTTP Error 404"):
        fetch(tmp_path, mirror.url, sources=[source], pause=0)
    assert len(mirror.requests) == 1


def test_a_busy_server_is_tried_again(mirror: Mirror, tmp_path: Path) -> None:
    source = _serve(mirror)
    mirror.errors = [503, 500]
    assert fetch(tmp_path, mirror.url, sources=[source], pause=0) == (source,)
    assert len(mirror.requests) == 3


def test_no_server_is_a_download_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(DownloadError, match="refused"):
        fetch(tmp_path, "http://127.0.0.1:1", sources=read_sources()[:1], pause=0)


def test_a_file_of_the_user_is_never_overwritten(mirror: Mirror, tmp_path: Path) -> None:
    source = _serve(mirror)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.tsv").write_text("mine")
    with pytest.raises(IntegrityError, match="move the file away"):
        fetch(tmp_path, mirror.url, sources=[source])
    assert (tmp_path / "a/one.tsv").read_text() == "mine"
    assert mirror.requests == []


def test_a_folder_that_cannot_be_made_is_an_output_error(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another"):
        fetch(tmp_path / "file", mirror.url, sources=[_serve(mirror)])


def test_only_http_mirrors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="http"):
        fetch(tmp_path, "file:///etc", sources=[])


def test_the_list_names_commits_and_hashes() -> None:
    sources = read_sources()
    assert len({source.file for source in sources}) == len(sources) == 17
    assert all(len(source.commit) == 40 and len(source.sha256) == 64 and source.bytes > 0 for source in sources)
    spaced = next(source for source in sources if " " in source.path)
    assert spaced.url().startswith(
        f"https://raw.githubusercontent.com/{spaced.repository}/{spaced.commit}/Clean%20Data/"
    )


@pytest.mark.real
def test_the_real_data_are_what_the_list_says(real_data: Path) -> None:
    assert [problem for _, problem in check(real_data, read_sources()) if problem] == []
