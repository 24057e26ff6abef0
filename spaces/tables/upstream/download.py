"""Downloads one file and checks its size, then its sha256 or git's own checksum.

The file is downloaded to `NAME.part`. A later call continues it if the server allows that. It is renamed only after the check.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from budgetnas.spaces.tables.columnar import TableError

_BLOCK_BYTES = 1 << 16
# The limit for a file of unknown size. The upstream host allows no files of more than 100 MB.
_LARGEST_BYTES = 128 << 20
_TRY_LATER = frozenset({408, 425, 429})


class FetchError(TableError):
    """A file could not be downloaded, or is not the file in the manifest; the message names the file and the remedy."""


class Unavailable(FetchError):
    """The server does not have the file, or could not be reached. The received part is kept, and a later call continues it."""


class _CutOff(Exception):
    """The connection failed or ended too early. Another attempt may succeed."""


class _Longer(Exception):
    """The answer is longer than the file in the manifest, so it is another file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to download. `path` is OWNER/REPO/COMMIT/PATH. `bytes` and `sha256` are None if only git's own checksum is known."""

    what: str
    path: str
    url: str
    git_blob_sha1: str
    licence: str
    bytes: int | None = None
    sha256: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a file, and how often to try."""

    silence_s: float = 30.0  # without any data
    attempt_s: float = 900.0  # for one attempt
    attempts: int = 4
    pause_s: float = 1.0  # before the second attempt; doubled before each later one


# Called with an entry, the number of its bytes received so far, and its size in bytes or None.
Progress = Callable[[Entry, int, int | None], None]


def address(entry: Entry, base_url: str | None) -> str:
    """Return the URL of an entry: its own, or that of its path on the mirror `base_url`.

    Raises:
        FetchError: `base_url` is not an http or https address of a folder.
    """
    if base_url is None:
        return entry.url
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment or re.search(r"\s", base_url))
    except ValueError:
        usable = False
    if not usable:
        raise FetchError(
            f"'{base_url}' is not a mirror; give the http or https address of a folder, such as https://mirror.example.org/data"
        )
    return f"{base_url.rstrip('/')}/{quote(entry.path)}"


def mismatch(entry: Entry, file: Path) -> str | None:
    """Return how a file differs from its entry, in size or checksum; None if it does not.

    The checksum is sha256 if the entry has one, else git's sha1.
    """
    size = file.stat().st_size
    if entry.bytes is not None and size != entry.bytes:
        return f"expected {entry.bytes:,} bytes, found {size:,}"
    name, expected = ("sha256", entry.sha256) if entry.sha256 else ("git blob sha1", entry.git_blob_sha1)
    digest = hashlib.sha256() if entry.sha256 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return None if digest.hexdigest() == expected else f"expected {name} {expected}, found {digest.hexdigest()}"


def download(entry: Entry, target: Path, base_url: str | None, progress: Progress, patience: Patience | None = None) -> bool:
    """Download the file of an entry to `target` and check it. Return False if it was already there.

    Raises:
        Unavailable: The server does not have the file, or cannot be reached. The received part stays as `NAME.part`, and the next call
            continues it.
        FetchError: The received file is not the one in the entry, or cannot be written, as on a full disk. `NAME.part` is removed.
    """
    url = address(entry, base_url)
    partial = target.with_name(target.name + ".part")
    try:
        if target.is_file() and mismatch(entry, target) is None:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        _receive(entry, url, partial, progress, patience or Patience())
        partial.replace(target)
    except OSError as error:
        # An error of the disk: errors of the network were handled before.
        if partial.is_file():
            partial.unlink()
        remedy = "make room, or set BUDGETNAS_DATA to another folder, and run `budgetnas data fetch` again"
        raise FetchError(f"cannot write {target}: {error.strerror or error}; {remedy}") from None
    return True


def _receive(entry: Entry, url: str, partial: Path, progress: Progress, patience: Patience) -> None:
    """Download the file of an entry to `partial`, in as many attempts as `patience` allows."""
    reason = ""
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(patience.pause_s * 2 ** (attempt - 1))
        start = partial.stat().st_size if partial.is_file() else 0
        try:
            if start != entry.bytes:
                start = _attempt(entry, url, partial, start, progress, patience)
            problem = mismatch(entry, partial)
        except _CutOff as cut:
            reason = str(cut)
            continue
        except _Longer as longer:
            problem = str(longer)
        if problem is None:
            return
        partial.unlink(missing_ok=True)
        reason = f"is not the file that the manifest lists: {problem}"
        # A file joined from two answers may be wrong although each answer is right, so only a whole answer proves the server wrong.
        if start == 0:
            remedy = "run `budgetnas data fetch` again, or name another mirror with --base-url"
            raise FetchError(f"{entry.path} from {url} {reason}; it was removed: {remedy}")
    raise Unavailable(f"{url} {reason}, in the last of {patience.attempts} attempts; run `budgetnas data fetch` again to continue")


def _attempt(entry: Entry, url: str, partial: Path, start: int, progress: Progress, patience: Patience) -> int:
    """Append one answer of the server to `partial`. Return the position of its first byte, 0 for a whole file.

    Raises:
        _CutOff: The answer ended too early.
        _Longer: The answer is longer than the file.
        Unavailable: The server refused.
    """
    deadline = time.monotonic() + patience.attempt_s
    most = _LARGEST_BYTES if entry.bytes is None else entry.bytes
    response, start, total = _open(entry, url, start, patience)
    with response:
        if total is not None and total > most:
            raise _Longer(f"expected {most:,} bytes at most, found {total:,}")
        done = start
        with partial.open("r+b" if start else "wb") as sink:
            sink.seek(start)
            while block := _block(response):
                done += len(block)
                if done > most:
                    raise _Longer(f"expected {most:,} bytes at most, found more")
                sink.write(block)
                sink.flush()
                progress(entry, done, entry.bytes or total)
                if time.monotonic() > deadline:
                    raise _CutOff(f"sent only {done - start:,} bytes in {patience.attempt_s:.0f} s")
            os.fsync(sink.fileno())
    if done < ((entry.bytes or 0) if total is None else total):
        raise _CutOff(f"was cut off after {done:,} bytes")
    return start


def _block(response: http.client.HTTPResponse) -> bytes:
    """Return the next bytes that have arrived, at most one block. Raises _CutOff if the connection fails."""
    try:
        # read1 returns the available bytes, so a very slow server cannot block this call beyond its time.
        return response.read1(_BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _CutOff(f"broke off ({_reason(error)})") from None


def _open(entry: Entry, url: str, start: int, patience: Patience) -> tuple[http.client.HTTPResponse, int, int | None]:
    """Return the answer of the server, the position of its first byte, and the size of the file, None if the server does not state it.

    The position is `start` if the server can continue a file, else 0.
    """
    headers = {"User-Agent": "budgetnas", "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = _opener().open(urllib.request.Request(url, headers=headers), timeout=patience.silence_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return _open(entry, url, 0, patience)
        if error.code >= 500 or error.code in _TRY_LATER:
            raise _CutOff(f"answered {error.code} {error.reason}") from None
        raise Unavailable(
            f"{url} answered {error.code} {error.reason}; check that the mirror has the file, or name another one with --base-url"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _CutOff(f"cannot be reached ({_reason(error)})") from None
    if response.status == 200:
        announced = response.headers.get("Content-Length", "")
        return response, 0, int(announced) if announced.isdecimal() else None
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if start and response.status == 206 and match and int(match[1]) == start:
        total = None if match[2] == "*" else int(match[2])
        if entry.bytes is None or total in (None, entry.bytes):
            return response, start, total
    response.close()
    if start:
        return _open(entry, url, 0, patience)
    raise Unavailable(f"{url} answered {response.status}, not 200; name another mirror with --base-url")


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener that uses the user's proxies, but only http and https: no redirection can lead to a local file or to ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _reason(error: BaseException) -> str:
    cause = getattr(error, "reason", None) or error
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__).split("\n")[0]
