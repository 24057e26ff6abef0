"""The download of one file, from good servers and from faulty ones."""

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from budgetnas.spaces.tables.upstream import download as module
from budgetnas.spaces.tables.upstream.download import Entry, FetchError, Patience, Unavailable, address, download, mismatch

CONTENT = bytes(range(251)) * 1600  # 401,600 bytes: several blocks
OTHER = CONTENT[:-1] + b"!"
PATH = "owner/repo/0123456789012345678901234567890123456789/folder/a file.csv"
QUICK = Patience(silence_s=20.0, attempt_s=100.0, attempts=3, pause_s=0.0)


def entry_of(content: bytes, **changes: object) -> Entry:
    sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    sha256 = hashlib.sha256(content).hexdigest()
    stated = {
        "what": "w",
        "path": PATH,
        "url": "http://nowhere.invalid/",
        "git_blob_sha1": sha1,
        "licence": "MIT",
        "bytes": len(content),
        "sha256": sha256,
    }
    return Entry(**(stated | changes))  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        answer = self.server.script.pop(0) if self.server.script else self.server.answer
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    @property
    def start(self) -> int:
        return int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))

    def log_message(self, *_arguments: object) -> None:
        pass


Answer = Callable[[Handler], None]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.script: list[Answer] = []
        self.answer: Answer = ranged()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mirror"


def ranged(content: bytes = CONTENT, sent: int | None = None) -> Answer:
    """Return an answer that continues at the requested byte, but sends only the first `sent` bytes of it."""

    def answer(handler: Handler) -> None:
        start = handler.start
        if start == 0:
            handler.head(200, Content_Length=len(content))
        else:
            handler.head(206, Content_Length=len(content) - start, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.wfile.write(content[start:][:sent])

    return answer


def whole(content: bytes = CONTENT, length: bool = True, sent: int | None = None) -> Answer:
    """Return an answer that ignores ranges, and without `length` does not state the length of the file."""

    def answer(handler: Handler) -> None:
        handler.head(200, **({"Content_Length": len(content)} if length else {}))
        handler.wfile.write(content[:sent])

    return answer


def status(code: int, **headers: object) -> Answer:
    return lambda handler: handler.head(code, Content_Length=0, **headers)


def endless(handler: Handler) -> None:
    handler.head(200)
    while not handler.server.closing.is_set():
        handler.wfile.write(CONTENT)


def silent(handler: Handler) -> None:
    handler.server.closing.wait()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "home" / "a file.csv"


def part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def get(server: Server, target: Path, entry: Entry | None = None, patience: Patience = QUICK) -> bool:
    return download(entry or entry_of(CONTENT), target, server.url, lambda *_: None, patience)


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir()) if target.parent.exists() else []


def ranges(server: Server) -> list[str | None]:
    return [asked for _, asked in server.asked]


def test_a_file_is_downloaded_once(server: Server, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    assert download(entry_of(CONTENT), target, server.url + "/", lambda _entry, done, total: seen.append((done, total)), QUICK)
    assert target.read_bytes() == CONTENT and left(target) == ["a file.csv"]
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen) and len(seen) > 1
    assert server.asked == [("/mirror/" + PATH.replace(" ", "%20"), None)]
    assert not get(server, target)
    assert len(server.asked) == 1


def test_the_url_of_the_entry_is_the_default(server: Server, target: Path) -> None:
    assert download(entry_of(CONTENT, url=server.url + "/own"), target, None, lambda *_: None, QUICK)
    assert server.asked == [("/mirror/own", None)]


def test_a_damaged_file_is_downloaded_again(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(OTHER)
    assert get(server, target)
    assert target.read_bytes() == CONTENT


def test_a_download_that_is_cut_off_is_continued(server: Server, target: Path) -> None:
    server.script = [ranged(sent=150_000), ranged(sent=100_000)]
    assert get(server, target)
    assert target.read_bytes() == CONTENT and left(target) == ["a file.csv"]
    assert ranges(server) == [None, "bytes=150000-", "bytes=250000-"]


def test_with_a_server_without_ranges_the_download_starts_again(server: Server, target: Path) -> None:
    server.script = [whole(sent=150_000), whole()]
    assert get(server, target)
    assert target.read_bytes() == CONTENT and ranges(server) == [None, "bytes=150000-"]


def test_an_answer_without_a_length_that_ends_too_early_is_continued(server: Server, target: Path) -> None:
    server.script = [whole(length=False, sent=150_000)]
    assert get(server, target)
    assert target.read_bytes() == CONTENT and ranges(server) == [None, "bytes=150000-"]


def test_the_next_call_continues_a_download_that_was_cut_off(server: Server, target: Path) -> None:
    server.script = [ranged(sent=150_000), status(503), status(503)]
    with pytest.raises(Unavailable, match=r"answered 503 .* run `budgetnas data fetch` again to continue"):
        get(server, target)
    assert left(target) == ["a file.csv.part"] and part(target).read_bytes() == CONTENT[:150_000]
    assert get(server, target)
    assert target.read_bytes() == CONTENT and ranges(server)[-1] == "bytes=150000-"


@pytest.mark.parametrize(
    "odd",
    ["", "bytes 0-401599/401600", "bytes 150000-401599/401601", "items 150000-401599/401600", "bytes */401600", "bytes 1500000-2-3/x"],
)
def test_after_a_wrong_range_the_download_starts_again(server: Server, target: Path, odd: str) -> None:
    def answer(handler: Handler) -> None:
        handler.head(206, Content_Range=odd, Content_Length=len(CONTENT) - 150_000)
        handler.wfile.write(b"x" * (len(CONTENT) - 150_000))

    target.parent.mkdir()
    part(target).write_bytes(CONTENT[:150_000])
    server.script = [answer]
    assert get(server, target)
    assert target.read_bytes() == CONTENT and ranges(server) == ["bytes=150000-", None]


def test_after_a_refused_range_the_download_starts_again(server: Server, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(CONTENT[:150_000])
    server.script = [status(416)]
    assert get(server, target)
    assert target.read_bytes() == CONTENT and ranges(server) == ["bytes=150000-", None]


@pytest.mark.parametrize("stale", [b"garbage", OTHER, CONTENT + b"more"], ids=["short", "as long", "longer"])
def test_a_stale_part_does_not_spoil_the_download(server: Server, target: Path, stale: bytes) -> None:
    target.parent.mkdir()
    part(target).write_bytes(stale)
    assert get(server, target)
    assert target.read_bytes() == CONTENT and left(target) == ["a file.csv"]


def test_a_complete_part_is_used_without_a_request(server: Server, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(CONTENT)
    assert get(server, target)
    assert target.read_bytes() == CONTENT and server.asked == [] and left(target) == ["a file.csv"]


def test_the_error_for_a_wrong_checksum_names_file_checksums_and_remedy(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "bystander").write_text("untouched")
    server.answer = ranged(OTHER)
    with pytest.raises(FetchError) as error:
        get(server, target)
    text = str(error.value)
    assert "\n" not in text and PATH in text and "--base-url" in text and "budgetnas data fetch" in text
    assert hashlib.sha256(CONTENT).hexdigest() in text and hashlib.sha256(OTHER).hexdigest() in text
    assert left(target) == ["bystander"] and len(server.asked) == 1


def test_a_damaged_file_is_kept_until_the_download_succeeds(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"damaged")
    server.answer = ranged(OTHER)
    with pytest.raises(FetchError):
        get(server, target)
    assert target.read_bytes() == b"damaged" and left(target) == ["a file.csv"]


@pytest.mark.parametrize("content", [CONTENT[:-5], CONTENT + b"12345", b""], ids=["shorter", "longer", "empty"])
def test_a_file_of_another_size_is_refused(server: Server, target: Path, content: bytes) -> None:
    server.answer = ranged(content)
    with pytest.raises(FetchError, match=rf"expected 401,600 bytes.*, found {len(content):,}"):
        get(server, target)
    assert left(target) == [] and len(server.asked) == 1


def test_an_endless_answer_is_stopped_at_the_stated_size(server: Server, target: Path) -> None:
    largest = []
    server.answer = endless
    with pytest.raises(FetchError, match="expected 401,600 bytes at most, found more"):
        download(entry_of(CONTENT), target, server.url, lambda *_: largest.append(part(target).stat().st_size), QUICK)
    assert max(largest) <= len(CONTENT) and left(target) == []


def test_an_endless_answer_for_a_file_of_unknown_size_is_stopped(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST_BYTES", 200_000)
    server.answer = endless
    with pytest.raises(FetchError, match="expected 200,000 bytes at most, found more"):
        get(server, target, entry_of(CONTENT, bytes=None, sha256=None))
    assert left(target) == []


def test_git_s_checksum_is_used_if_there_is_no_other(server: Server, target: Path) -> None:
    entry = entry_of(CONTENT, bytes=None, sha256=None)
    server.script = [ranged(OTHER)]
    with pytest.raises(FetchError, match=f"expected git blob sha1 {entry.git_blob_sha1}, found [0-9a-f]{{40}};"):
        get(server, target, entry)
    assert left(target) == []
    server.script = [ranged(sent=150_000)]
    assert get(server, target, entry)
    assert target.read_bytes() == CONTENT and ranges(server)[-1] == "bytes=150000-"


def test_git_s_checksum_equals_that_of_git_hash_object(tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello\n")
    # Printed by `git hash-object`.
    assert (
        mismatch(entry_of(b"", bytes=None, sha256=None, git_blob_sha1="ce013625030ba8dba906f756967f9e9ca394464a"), tmp_path / "hello")
        is None
    )


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 204, 206])
def test_after_a_refusal_there_is_no_further_attempt_and_no_file(server: Server, target: Path, code: int) -> None:
    server.answer = status(code)
    with pytest.raises(Unavailable, match=rf"answered {code}") as error:
        get(server, target)
    assert "\n" not in str(error.value) and len(server.asked) == 1 and left(target) == []


@pytest.mark.parametrize("code", [500, 502, 503, 429, 408])
def test_a_server_error_leads_to_a_limited_number_of_attempts(server: Server, target: Path, code: int) -> None:
    server.script = [status(code), status(code)]
    assert get(server, target)
    target.unlink()
    server.asked.clear()
    server.answer = status(code)
    with pytest.raises(Unavailable, match=rf"answered {code} .* last of 3 attempts"):
        get(server, target)
    assert len(server.asked) == 3


def test_a_silent_server_is_unavailable(server: Server, target: Path) -> None:
    server.answer = silent
    with pytest.raises(Unavailable, match=r"cannot be reached .*timed out"):
        get(server, target, patience=Patience(silence_s=0.05, attempt_s=100.0, attempts=2, pause_s=0.0))
    assert len(server.asked) <= 2 and left(target) == []


def test_a_very_slow_server_is_unavailable(server: Server, target: Path) -> None:
    with pytest.raises(Unavailable, match=r"sent only [\d,]+ bytes in 0 s"):
        get(server, target, patience=Patience(silence_s=20.0, attempt_s=0.0, attempts=2, pause_s=0.0))
    assert 0 < part(target).stat().st_size < len(CONTENT) and left(target) == ["a file.csv.part"]


def test_a_port_without_a_server_is_unavailable(target: Path, server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match=r"cannot be reached .*refused"):
            download(entry_of(CONTENT), target, f"http://127.0.0.1:{free.getsockname()[1]}", lambda *_: None, QUICK)


def test_an_answer_that_is_not_http_is_refused_in_one_line(server: Server, target: Path) -> None:
    server.answer = lambda handler: handler.wfile.write(b"\0\xff nonsense\r\n\r\n" * 10)
    with pytest.raises(Unavailable) as error:
        get(server, target)
    assert "\n" not in str(error.value)


def test_redirections_are_followed_to_http_only(server: Server, target: Path, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(CONTENT)
    server.script = [status(302, Location="/elsewhere")]
    assert get(server, target)
    assert server.asked[-1][0] == "/elsewhere"
    target.unlink()
    for place in ((tmp_path / "local").as_uri(), "ftp://127.0.0.1/x", "data:text/plain,x"):
        server.answer = status(302, Location=place)
        with pytest.raises(Unavailable):
            get(server, target)
        assert left(target) == []


@pytest.mark.parametrize(
    "base", ["file:///etc", "ftp://host/x", "host/x", "/folder", "http://", "http://a b/", "http://[x", "http://h/?q=1", "", "http:/x"]
)
def test_an_address_that_is_not_a_mirror_is_refused(base: str) -> None:
    with pytest.raises(FetchError, match="is not a mirror; give the http or https address"):
        address(entry_of(CONTENT), base)


def test_after_an_interrupt_the_next_call_continues(server: Server, target: Path) -> None:
    def interrupt(_entry: Entry, done: int, _total: int | None) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(entry_of(CONTENT), target, server.url, interrupt, QUICK)
    received = part(target).stat().st_size
    assert 100_000 < received < len(CONTENT) and part(target).read_bytes() == CONTENT[:received]
    assert get(server, target)
    assert target.read_bytes() == CONTENT and ranges(server)[-1] == f"bytes={received}-"


def test_a_full_disk_leaves_no_part(server: Server, small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(1024)
    big = CONTENT * 5
    server.answer = ranged(big)
    old = disk / "nasbench201.parquet"
    old.write_bytes(b"old")
    target = disk / "upstream" / "big.csv"
    with pytest.raises(FetchError, match=r"cannot write .*big\.csv: No space left on device; make room") as error:
        get(server, target, entry_of(big))
    assert "\n" not in str(error.value)
    assert [path for path in disk.rglob("*") if path.is_file()] == [old] and old.read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_no_part(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    target.parent.mkdir()
    target.write_bytes(b"old")
    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)  # type: ignore[call-overload]
    with pytest.raises(FetchError, match="No space left on device"):
        get(server, target)
    assert left(target) == ["a file.csv"] and target.read_bytes() == b"old"


def test_a_folder_that_cannot_be_created_is_refused_in_one_line(server: Server, target: Path) -> None:
    target.parent.parent.joinpath("home").write_text("a file where a folder should be")
    with pytest.raises(FetchError, match="cannot write") as error:
        get(server, target)
    assert "\n" not in str(error.value)
