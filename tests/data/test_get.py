"""Public data sets: unreliable servers, malicious archives, the Hugging Face hub, and the commands."""

import errno
import hashlib
import io
import json
import os
import ssl
import stat
import sys
import tarfile
import threading
import time
import types
import urllib.error
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest
from filelock import FileLock
from PIL import Image
from rich.filesize import decimal

from conftest import draw_images
from cyclegan.cli import data_get
from cyclegan.cli import main as cli
from cyclegan.data.get import archives, catalog, transfer
from cyclegan.data.get import huggingface as hub
from cyclegan.data.get.archives import unpack
from cyclegan.data.get.catalog import CATALOG, Entry
from cyclegan.data.get.checksums import BadFile, checksum_file
from cyclegan.data.get.download import DownloadResult, get_dataset
from cyclegan.data.layouts import find_domains, find_pairs
from cyclegan.errors import CycleGANError, UsageError

QUICK = transfer.RetryPolicy(timeout=0.3, max_attempts=3, initial_delay=0.01, max_delay=0.02)


@dataclass
class Site:
    """A local server: for each path, its behavior at the first request, the second, ..., and all further ones."""

    content: bytes
    behavior: dict[str, list[str]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    port: int = 0
    etag: str = '"one"'

    def at(self, *behavior: str) -> str:
        """A new URL with this behavior."""
        path = f"/{len(self.behavior)}.zip"
        self.behavior[path] = list(behavior)
        return f"http://127.0.0.1:{self.port}{path}"

    def ranges(self) -> list[str | None]:
        """The ranges requested so far."""
        return [wanted for _, wanted in self.requests]


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.site.requests.append((self.path, self.headers.get("Range")))
        behavior = self.site.behavior[self.path]
        name, _, argument = (behavior.pop(0) if len(behavior) > 1 else behavior[0]).partition(" ")
        getattr(self, f"be_{name}")(*argument.split())

    def head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def be_good(self, share: str = "1", lie: str = "0", validator: str = "ETag") -> None:
        """Respond like real servers, but send only a fraction of the bytes, or a wrong length."""
        content, start = self.site.content, 0
        marks = (
            {"ETag": self.site.etag} if validator == "ETag" else {"Last-Modified": "yes"} if validator != "-" else {}
        )
        wanted = self.headers.get("Range")
        if wanted and self.headers.get("If-Range") in marks.values():
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.head(416, 0, Content_Range=f"bytes */{len(content)}")
        rest = content[start:]
        if start:
            marks["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        length = len(rest) + int(lie)
        self.head(206 if start else 200, length, **marks)
        self.wfile.write(rest[: int(float(share) * len(rest))][:length])
        return None

    def be_chunked(self, share: str = "1") -> None:
        self.protocol_version = "HTTP/1.1"
        self.head(200, None, Transfer_Encoding="chunked")
        piece = self.site.content[: int(float(share) * len(self.site.content))]
        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if share == "1":
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def be_wrongpart(self) -> None:
        if not self.headers.get("Range"):
            return self.be_good("0.5")
        return self.head(206, 1, Content_Range=f"bytes 1-1/{len(self.site.content)}")

    def be_late(self) -> None:
        time.sleep(2 * QUICK.timeout)

    def be_page(self, kind: str = "text/html") -> None:
        page = b"<!doctype html><title>Moved</title>" + b" " * 2000
        self.head(200, len(page), Content_Type=kind)
        self.wfile.write(page)

    def be_status(self, status: str, after: str = "") -> None:
        self.head(int(status), 0, **({"Retry_After": after} if after else {}))

    def be_redirect(self, to: str = "") -> None:
        self.head(302, 0, Location=to or self.path)

    def be_gone(self) -> None:
        self.connection.close()


@dataclass
class RecordingListener:
    """Records its progress, and can interrupt the download."""

    messages: list[str] = field(default_factory=list)
    counts: list[tuple[int, int | None]] = field(default_factory=list)
    interrupt_at: int | None = None

    def begin(self, task: str) -> None:
        self.messages.append(task)

    def advance(self, done: int, total: int | None) -> None:
        self.counts.append((done, total))
        if self.interrupt_at is not None and done >= self.interrupt_at:
            raise KeyboardInterrupt

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.fixture(autouse=True)
def isolated_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A zip file like those of the catalog: 3 and 2 training images, 1 test image of each."""
    root = tmp_path_factory.mktemp("archive") / "red2blue"
    for name, count, tint in (("trainA", 3, 0), ("trainB", 2, 2), ("testA", 1, 0), ("testB", 1, 2)):
        draw_images(root / name, count, tint)
    return zipped({path.relative_to(root.parent).as_posix(): path.read_bytes() for path in root.rglob("*.png")})


@pytest.fixture
def site(content: bytes) -> Iterator[Site]:
    site = Site(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Mine", (Handler,), {"site": site}))
    server.daemon_threads = True
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def zipped(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return written.getvalue()


def entry(*urls: str, **more: Any) -> Entry:
    return replace(Entry("red2blue", "red, blue", "none", "nobody"), urls=urls, **more)


def download(to: Path, *urls: str, listener: RecordingListener | None = None, **more: Any) -> DownloadResult:
    return get_dataset(entry(*urls, **more), to, listener or RecordingListener(), policy=QUICK)


def refused(to: Path, *urls: str, **more: Any) -> str:
    """The error of a failed download; nothing but an unfinished download may be left."""
    with pytest.raises(CycleGANError) as raised:
        download(to, *urls, **more)
    left = {path.name.removesuffix(".json") for path in to.parent.iterdir()} - {"cache"}
    assert left <= {".red2blue.download"}
    assert "\n" not in str(raised.value)
    return str(raised.value)


# Servers, good and bad


@pytest.mark.network
def test_a_download_becomes_a_folder_to_train_on(site: Site, tmp_path: Path) -> None:
    to, listener = tmp_path / "data", RecordingListener()
    obtained = download(to, site.at("good"), listener=listener)
    assert obtained.contents == "3 and 2 training images, 1 and 1 test images"
    assert [len(find_domains(to).train.a), len(find_domains(to).test.b)] == [3, 1]
    assert (len(site.content), len(site.content)) in listener.counts
    assert listener.messages == ["Downloading", "Unpacking"]
    assert {path.name for path in tmp_path.iterdir()} == {"data", "cache"}
    requests = len(site.requests)
    assert download(to, site.at("good")).contents.startswith("already there, 3 and 2 training images")
    assert len(site.requests) == requests


@pytest.mark.network
@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
def test_an_interrupted_download_is_resumed(site: Site, tmp_path: Path, validator: str) -> None:
    half, listener = len(site.content) // 2, RecordingListener()
    download(tmp_path / "data", site.at(f"good 0.5 0 {validator}", f"good 1 0 {validator}"), listener=listener)
    assert site.ranges() == [None, f"bytes={half}-"]
    assert "closed the connection after" in listener.messages[1] and "retrying in 0 s" in listener.messages[1]


@pytest.mark.network
def test_retries_continue_as_long_as_bytes_arrive(site: Site, tmp_path: Path) -> None:
    download(tmp_path / "data", site.at(*["good 0.3"] * 8, "good"))
    assert len(site.requests) == 9 > QUICK.max_attempts


@pytest.mark.network
@pytest.mark.parametrize("behavior", ["good 0.5 0 -", "chunked 0.5"])
def test_without_a_version_the_download_starts_over(site: Site, tmp_path: Path, behavior: str) -> None:
    download(tmp_path / "data", site.at(behavior, behavior.replace("0.5", "1")))
    assert site.ranges() == [None, None]


@pytest.mark.network
def test_a_file_changed_on_the_server_is_downloaded_from_the_start(site: Site, tmp_path: Path) -> None:
    refused(tmp_path / "data", address := site.at("good 0.5", "status 503"))
    site.etag, site.behavior["/0.zip"] = '"two"', ["good"]
    assert download(tmp_path / "data", address).contents.startswith("3 and 2")
    assert site.ranges()[-1] == f"bytes={len(site.content) // 2}-"


@pytest.mark.network
def test_a_stopped_download_is_kept_and_resumed(site: Site, tmp_path: Path) -> None:
    address = site.at("good")
    for _ in range(2):  # the second time it is complete, and the server returns 416
        with pytest.raises(KeyboardInterrupt):
            download(tmp_path / "data", address, listener=RecordingListener(interrupt_at=len(site.content) // 2))
    kept = (tmp_path / ".red2blue.download").stat().st_size
    assert kept
    download(tmp_path / "data", address)
    assert site.ranges()[-1] == f"bytes={kept}-"
    assert not (tmp_path / ".red2blue.download").exists()


@pytest.mark.network
@pytest.mark.parametrize("trouble", ["late", "gone", "status 503", "status 429 7", "chunked 0.1", "good 1 5000"])
def test_transient_errors_are_retried(site: Site, tmp_path: Path, trouble: str) -> None:
    assert download(tmp_path / "data", site.at(trouble, "good")).contents
    assert len(site.requests) == 2


@pytest.mark.network
@pytest.mark.parametrize(
    ("trouble", "tries", "wording"),
    [
        ("late", 3, "did not respond in time (3 times in a row)"),
        ("gone", 3, "(3 times in a row)"),
        ("status 503", 3, "returned 503 Service Unavailable (3 times in a row)"),
        ("status 404", 1, "returned 404 Not Found."),
        ("page", 1, "returned a web page instead of an archive."),
        ("page application/zip", 1, "returned a web page instead of an archive."),
        ("redirect", 6, "redirects in a loop, or more than 5 times."),
        ("redirect ftp://127.0.0.1/x", 1, "redirects to ftp://127.0.0.1/x, which is not encrypted"),
        ("good 1 5000 -", 3, "closed the connection after"),  # claims to be longer than it is
        ("good 1 -500", 1, "is damaged or truncated"),
        ("wrongpart", 2, "returned another range than requested"),
    ],
)
def test_permanent_errors_are_explained_in_one_sentence(
    site: Site, tmp_path: Path, trouble: str, tries: int, wording: str
) -> None:
    sentence = refused(tmp_path / "data", site.at(trouble))
    assert wording in sentence and sentence.startswith("red2blue could not be downloaded: ")
    assert "--from-file" in sentence
    if wording.startswith("redirects in"):
        assert len(site.requests) >= 2
    else:
        assert len(site.requests) == tries


@pytest.mark.network
def test_the_next_url_is_used_after_a_failure(site: Site, tmp_path: Path) -> None:
    urls = [site.at(each) for each in ("status 404", "page", "good 1 -500", "status 500", "redirect /4.zip", "good")]
    site.behavior["/4.zip"] = ["redirect /5.zip"]
    assert download(tmp_path / "data", *urls).contents
    paths = [path for path, _ in site.requests]
    assert paths == ["/0.zip", "/1.zip", "/2.zip", *["/3.zip"] * 3, "/4.zip", "/5.zip"]


@pytest.mark.network
def test_a_download_is_not_resumed_from_another_url(site: Site, tmp_path: Path) -> None:
    first, second = site.at("good 0.5", "status 404"), site.at("status 404")
    assert "are kept in" in refused(tmp_path / "data", first, second)
    site.behavior["/1.zip"] = ["good"]
    download(tmp_path / "data", second)
    assert site.ranges()[-1] is None


def test_a_refused_connection_is_explained(tmp_path: Path) -> None:
    assert "127.0.0.1:9 cannot be reached (Connection refused)" in refused(
        tmp_path / "data", "http://127.0.0.1:9/x.zip"
    )


def test_redirects_from_https_to_http_are_refused() -> None:
    with pytest.raises(transfer.PermanentError, match="not encrypted"):
        transfer.Redirects().redirect_request(
            Request("https://a.test/x"), io.BytesIO(), 302, "Found", Message(), "http://a.test/x"
        )
    with pytest.raises(transfer.PermanentError, match="certificate"), transfer.classify_errors():
        raise urllib.error.URLError(ssl.SSLCertVerificationError())


def test_retry_delays_double_with_jitter_up_to_a_limit() -> None:
    policy = transfer.RetryPolicy(initial_delay=1, max_delay=60)
    delays = [[policy.delay(failures, 0) for _ in range(50)] for failures in (1, 2, 3, 20)]
    assert all(full / 2 <= delay <= full for full, each in zip((1, 2, 4, 60), delays, strict=True) for delay in each)
    assert all(len(set(each)) > 1 for each in delays)
    assert policy.delay(1, retry_after=30) == 30 and policy.delay(1, retry_after=10_000) == 60


@pytest.mark.network
def test_disk_space_is_checked_before_the_download(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=5000))
    wording = refused(tmp_path / "data", site.at("good"))
    assert f"needs {decimal(2 * len(site.content))} in {tmp_path}" in wording and "only 5.0 kB are free" in wording


@pytest.mark.network
def test_a_disk_that_fills_up_is_explained(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = io.BytesIO()
    full.write = lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space"))  # type: ignore[method-assign]
    monkeypatch.setattr(transfer.PartialFile, "begin", lambda *_: full)
    assert "is full" in refused(tmp_path / "data", site.at("good"))
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def no_space(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space")

    monkeypatch.setattr(archives, "_write", no_space)
    assert "is full; nothing was written" in refused(tmp_path / "data", site.at("good"))


@pytest.mark.network
def test_two_processes_cannot_download_the_same_file(site: Site, tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".red2blue.download.lock"),
        pytest.raises(CycleGANError, match="Another process is downloading red2blue"),
    ):
        download(tmp_path / "data", site.at("good"))
    assert not site.requests


# Checksums


@pytest.mark.network
def test_a_first_download_is_trusted_and_later_ones_must_match_it(site: Site, tmp_path: Path, content: bytes) -> None:
    (remark,) = download(tmp_path / "one", site.at("good")).notes
    assert "No checksum of red2blue is published, so this first download was trusted" in remark
    assert str(checksum_file()) in remark and checksum_file().is_relative_to(tmp_path)
    assert download(tmp_path / "two", site.at("good")).notes == ()
    site.content = content + b"more"
    with pytest.raises(CycleGANError, match=r"the first download had .* \(if the file was updated on purpose"):
        download(tmp_path / "three", site.at("good"))
    assert not (tmp_path / "three").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.network
def test_a_published_checksum_is_required_of_every_url(site: Site, tmp_path: Path, content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    site.content = content + b"more"
    assert "is published" in refused(tmp_path / "data", site.at("good"), sha256=sha256)
    site.content = content
    assert download(tmp_path / "data", site.at("good"), sha256=sha256).notes == ()
    assert not checksum_file().exists()


@pytest.mark.network
@pytest.mark.parametrize("damage", ["{", "[]", '{"red2blue": 1}'])
def test_a_damaged_checksum_file_is_reported(site: Site, tmp_path: Path, damage: str) -> None:
    checksum_file().parent.mkdir(parents=True)
    checksum_file().write_text(damage)
    with pytest.raises(CycleGANError, match=r"checksums\.json is damaged; remove it"):
        download(tmp_path / "data", site.at("good"))


# Archives on disk


def from_file(archive: Path, to: Path, **more: Any) -> DownloadResult:
    return get_dataset(entry(**more), to, RecordingListener(), archive)


def as_archive(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_an_archive_on_disk_can_be_used(tmp_path: Path, content: bytes) -> None:
    archive = as_archive(tmp_path / "mine.zip", content)
    assert from_file(archive, tmp_path / "data").contents.startswith("3 and 2")
    assert archive.exists() and not checksum_file().exists()
    (remark,) = from_file(archive, tmp_path / "other", sha256="0" * 64).notes
    assert "but 000000000000… is published; it was used anyway" in remark


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives_of_pairs_keep_their_layout(tmp_path: Path, mode: str) -> None:
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        draw_images(tmp_path / "facades" / split, count, 1)
    with tarfile.open(tmp_path / "a.tar", mode) as archive:  # type: ignore[call-overload]
        archive.add(tmp_path / "facades", "facades")
    pairs = entry(layout="paired")
    assert (
        get_dataset(pairs, tmp_path / "data", RecordingListener(), tmp_path / "a.tar").contents
        == "2 training pairs, 1 test pairs"
    )
    assert len(find_pairs(tmp_path / "data").train.a) == 2
    assert (tmp_path / "data" / "val" / "00.png").exists()


def test_photos_have_no_domains(tmp_path: Path) -> None:
    archive = as_archive(tmp_path / "a.zip", zipped({"ae_photos/testA/1.jpg": b"1", "ae_photos/testA/2.jpg": b"2"}))
    assert from_file(archive, tmp_path / "data", layout="photos").contents == "2 images"
    assert (tmp_path / "data" / "testA" / "1.jpg").exists()


@pytest.mark.parametrize("start", [b"", b"PK", b"hello" * 200])
def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path, start: bytes) -> None:
    with pytest.raises(UsageError, match="is not a zip or tar archive"):
        from_file(as_archive(tmp_path / "a.zip", start), tmp_path / "data")
    with pytest.raises(UsageError, match="is not a file"):
        from_file(tmp_path / "none.zip", tmp_path / "data")


def test_an_archive_with_other_content_is_refused(tmp_path: Path) -> None:
    archive = as_archive(tmp_path / "a.zip", zipped({"cats/1.jpg": b"1"}))
    with pytest.raises(CycleGANError, match=r"a\.zip does not contain trainA and trainB, as red2blue should"):
        from_file(archive, tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_folder_that_is_not_empty_is_left_unchanged(tmp_path: Path, content: bytes) -> None:
    archive = as_archive(tmp_path / "a.zip", content)
    (tmp_path / "data").mkdir()
    assert from_file(archive, tmp_path / "data").contents  # empty folders are filled
    (tmp_path / "data" / ".cyclegan-data.json").write_text("[]")
    with pytest.raises(CycleGANError, match="exists and is not empty"):
        from_file(archive, tmp_path / "data")


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_truncated_and_modified_archives_are_detected(tmp_path: Path, ending: str, content: bytes) -> None:
    if ending == "zip":
        whole = content
    else:
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode=f"w:{ending.partition('.')[2]}") as archive:  # type: ignore[call-overload]
            for name in ("trainA/1.jpg", "trainB/1.jpg"):
                info = tarfile.TarInfo(name)
                info.size = 3000
                archive.addfile(info, io.BytesIO(os.urandom(3000)))
        whole = written.getvalue()
    for number, share in enumerate((0.01, 0.3, 0.6, 0.95) if ending != "tar" else (0.1, 0.2)):
        cut = as_archive(tmp_path / f"{number}.{ending}", whole[: int(share * len(whole))])
        with pytest.raises(BadFile, match="is damaged or truncated"):
            unpack(cut, tmp_path / f"to{number}")
    if ending in ("zip", "tar.gz"):
        changed = bytearray(whole)
        changed[len(whole) // 3] ^= 255
        with pytest.raises(BadFile, match="is damaged"):
            unpack(as_archive(tmp_path / f"changed.{ending}", bytes(changed)), tmp_path / "to")


def zip_of(*names: str, mode: int = 0o644 | stat.S_IFREG, content: bytes = b"x") -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return written.getvalue()


def tar_of(*names: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz", errors="surrogateescape") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            archive.addfile(info)
    return written.getvalue()


EVIL = {
    "up": zip_of("../evil"),
    "up in the middle": zip_of("a/../../evil"),
    "up by backslashes": zip_of("a\\..\\..\\evil"),
    "up as windows reads it": zip_of("a/.. /evil"),
    "absolute": zip_of("/tmp/evil"),
    "absolute on windows": zip_of("C:\\evil"),
    "tar up": tar_of("../evil"),
    "tar absolute": tar_of("/tmp/evil"),
    "link": zip_of("a", mode=0o777 | stat.S_IFLNK, content=b"/etc/passwd"),
    "tar link": tar_of("a", kind=tarfile.SYMTYPE, link="/etc"),
    "tar hard link": tar_of("a", kind=tarfile.LNKTYPE, link="/etc/passwd"),
    "device": tar_of("a", kind=tarfile.CHRTYPE),
    "pipe": tar_of("a", kind=tarfile.FIFOTYPE),
    "case": zip_of("trainA/1.jpg", "TrainA/2.jpg"),
    "accents": zip_of("caf\u00e9", "cafe\u0301"),
    "made equal": zip_of("a:b", "a?b"),
    "twice": tar_of("a", "a"),
    "file and folder": tar_of("a", "a/b"),
    "bomb": zip_of("a", content=bytes(archives.ALWAYS_ALLOWED + 10_000_000)),
    "deep": zip_of("/".join("a" * 40)),
}


@pytest.mark.parametrize("kind", EVIL)
def test_malicious_archives_are_refused(tmp_path: Path, kind: str) -> None:
    archive = as_archive(tmp_path / "evil.zip", EVIL[kind])
    with pytest.raises(CycleGANError) as raised:
        from_file(archive, tmp_path / "below" / "data")
    wording = {
        "bomb": "unpacks to more than",
        "deep": "40 deep",
        "twice": "contains a twice",
        "made equal": "contains a_b twice",
        "file and folder": "contains a as a file and as a folder",
    }
    for word, sentence in (("link", "a link or device"), ("case", "which are the same name on many systems")):
        wording |= {word: sentence}
    expected = wording.get(kind) or (
        "a path outside its folder"
        if "up" in kind or "absolute" in kind
        else "which are the same name on many systems"
        if kind == "accents"
        else "a link or device"
    )
    assert expected in str(raised.value)
    assert {path.name for path in tmp_path.rglob("*")} == {"evil.zip", "below"}


def test_archives_with_too_many_files_or_a_password_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    with pytest.raises(BadFile, match="contains more than 3 files"):
        unpack(as_archive(tmp_path / "a.zip", zip_of("1", "2", "3", "4")), tmp_path / "to")
    locked = bytearray(zip_of("a"))
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BadFile, match="is encrypted"):
        unpack(as_archive(tmp_path / "b.zip", bytes(locked)), tmp_path / "to")


def test_odd_names_become_valid_on_every_system(tmp_path: Path) -> None:
    zip_file = as_archive(tmp_path / "a.zip", zip_of("trainA/2011-05-01 12:30:00.jpg", "__MACOSX/x", "a/.DS_Store"))
    tar_file = as_archive(tmp_path / "a.tgz", tar_of("d/caf\udce9.jpg", "d/._x"))
    unflagged = zip_of("xx\u2261.jpg").replace("xx\u2261".encode(), "xxx\u00e9".encode())
    for archive in (zip_file, tar_file, as_archive(tmp_path / "b.zip", unflagged)):
        unpack(archive, tmp_path / "to")
    files = {path.relative_to(tmp_path / "to").as_posix() for path in (tmp_path / "to").rglob("*") if path.is_file()}
    assert {"trainA/2011-05-01 12_30_00.jpg", "d/caf_.jpg", "xxx\u00e9.jpg"} == files


def test_unflagged_utf8_names_are_decoded(tmp_path: Path) -> None:
    plain = zip_of("trainA/XX.jpg").replace(b"XX", "é".encode())
    unpack(as_archive(tmp_path / "a.zip", plain), tmp_path / "to")
    assert (tmp_path / "to" / "trainA" / "é.jpg").exists()


# The catalog and the commands


def test_catalog_entries_are_complete() -> None:
    assert len(CATALOG) == 19
    for each in CATALOG.values():
        assert each.description and each.terms and each.citation
        assert all(url.startswith("https://") for url in each.urls)
        assert each.sha256 is None or len(bytes.fromhex(each.sha256)) == 32
        assert bool(each.urls) == bool(each.size) and (each.urls or each.instructions or each.name == "seasons")
    assert len({each.sha256 for each in CATALOG.values() if each.sha256}) == sum(
        bool(each.sha256) for each in CATALOG.values()
    )


def test_the_documentation_lists_the_catalog() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for each in CATALOG.values():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{each.name}` |"))
        assert each.description in row and each.terms in row
        assert not each.size or decimal(each.size) in row


@pytest.mark.parametrize(
    ("name", "meant"),
    [("horse2zebr", "horse2zebra"), ("Horse2Zebra", "horse2zebra"), ("edges2shoes", "pix2pix-edges2shoes")],
)
def test_similar_names_are_suggested(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"Unknown data set '{name}'; see `cyclegan data list`. .*{meant}"):
        catalog.find_entry(name)


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cyclegan", "data", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_data_list_shows_the_catalog(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = command("list")
    assert code == 0
    first_words = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert [word for word in first_words if word in CATALOG] == list(CATALOG)
    assert "116.9 MB" in out and "hf:user/name" in out


def test_data_list_as_json_is_the_catalog(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = command("list", "--json")
    assert code == 0
    assert {each["name"]: each["sha256"] for each in json.loads(out)} == {e.name: e.sha256 for e in CATALOG.values()}


@pytest.mark.network
def test_data_get_downloads_and_prints_the_next_step(
    command: Callable[..., tuple[int, str, str]], site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOG, "red2blue", entry(site.at("good")))
    code, out, err = command("get", "red2blue")
    assert (code, err) == (0, "")
    assert out.startswith("data/red2blue: 3 and 2 training images, 1 and 1 test images.\nNo checksum of red2blue")
    assert "Terms: none. Please cite nobody.\nTrain with: cyclegan train data/red2blue\n" in out
    assert command("get", "red2blue")[1].startswith("data/red2blue: already there")


@pytest.mark.network
def test_an_interrupted_data_get_says_how_to_resume(
    command: Callable[..., tuple[int, str, str]], site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(CATALOG, "red2blue", entry(site.at("good")))
    monkeypatch.setattr(data_get.DownloadProgress, "advance", interrupted)
    code, _, err = command("get", "red2blue", "-o", "here/mine")
    assert code == 130
    assert f"are kept in {tmp_path / 'here' / '.red2blue.download'}; the same command resumes the download." in err


@pytest.mark.parametrize(
    ("words", "code", "wording"),
    [
        (["get", "zebra"], 2, "Unknown data set 'zebra'; see `cyclegan data list`."),
        (
            ["get", "cityscapes"],
            2,
            "Cityscapes may not be redistributed. Register at https://www.cityscapes-dataset.com",
        ),
        (
            ["get", "horse2zebra", "--size", "64", "--train", "5"],
            2,
            "--train applies only to seasons, not to horse2zebra",
        ),
        (["get", "seasons", "--from-file", "x.zip"], 2, "--from-file cannot be used with seasons"),
        (["get", "horse2zebra", "--from-file", "x.zip"], 2, "x.zip is not a file"),
        (["get", "hf:nothing"], 2, "'hf:nothing' is not a data set of the hub"),
        (["get", "hf:a/b", "--from-file", "x.zip"], 2, "--from-file cannot be used with data sets of the hub"),
        (["fetch"], 2, "Unknown command 'data fetch'; did you mean data get?"),
    ],
)
def test_wrong_arguments_are_explained(
    command: Callable[..., tuple[int, str, str]], words: list[str], code: int, wording: str
) -> None:
    ended, out, err = command(*words)
    assert (ended, out) == (code, "")
    assert wording in err and err.count("\n") == 1


@pytest.mark.network
def test_a_failed_download_exits_with_1(
    command: Callable[..., tuple[int, str, str]], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOG, "red2blue", entry(site.at("status 404")))
    code, _, err = command("get", "red2blue")
    assert code == 1 and err.startswith("cyclegan: red2blue could not be downloaded: 127.0.0.1:")


# The hub, with a fake of the library `datasets`


class FakeImage:
    def __init__(self, decode: bool = True):
        self.decode = decode


@dataclass
class FakeSplit:
    columns: dict[str, list[Any]]
    features: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.features = self.features or {
            name: FakeImage() if name.startswith("image") else "text" for name in self.columns
        }

    def select_columns(self, names: list[str]) -> "FakeSplit":
        return FakeSplit({name: self.columns[name] for name in names})

    def cast_column(self, column: str, feature: FakeImage) -> "FakeSplit":
        assert not feature.decode and column in self.columns
        return self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names = list(self.columns)
        return (dict(zip(names, row, strict=True)) for row in zip(*self.columns.values(), strict=True))


def cells(count: int, kind: str = "JPEG") -> list[dict[str, Any]]:
    written = io.BytesIO()
    Image.new("RGB", (16, 16)).save(written, kind)  # Pillow writes no smaller icons
    return [{"bytes": written.getvalue(), "path": None}] * count


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, dict[str, FakeSplit]]], None]:
    """Install a fake hub with these configurations and splits."""

    def install(configurations: dict[str, dict[str, FakeSplit]]) -> None:
        module = types.ModuleType("datasets")
        module.Image = FakeImage  # type: ignore[attr-defined]
        module.get_dataset_config_names = lambda name: list(configurations)  # type: ignore[attr-defined]
        module.load_dataset = lambda name, configuration: configurations[configuration]  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "datasets", module)

    return install


def one(count: int) -> FakeSplit:
    return FakeSplit({"image": cells(count), "caption": ["x"] * count})


HUBS: dict[str, tuple[str, dict[str, dict[str, FakeSplit]]]] = {
    "two columns": (
        "",
        {
            "default": {
                "train": FakeSplit({"image1": cells(3), "image2": [*cells(2), None], "text": ["x"] * 3}),
                "validation": FakeSplit({"image1": cells(1), "image2": cells(1)}),
            }
        },
    ),
    "two configurations": ("", {"horse": {"train": one(3), "val": one(1)}, "zebra": {"train": one(2), "val": one(1)}}),
    "configurations chosen": (":b,c", {"a": {}, "b": {"train": one(3), "val": one(1)}, "c": {"all": one(2)}}),
    "columns chosen": (
        ":image3,image1",
        {"x": {"train": FakeSplit({"image1": cells(2), "image2": cells(2), "image3": [*cells(2)]})}},
    ),
    "two splits": ("", {"x": {"horse": one(3), "zebra": one(2)}}),
    "splits chosen": (":train,other", {"x": {"train": one(3), "other": one(2), "more": one(1)}}),
    "named splits": ("", {"x": {"trainA": one(3), "trainB": one(2), "testA": one(1)}}),
}


@pytest.mark.parametrize("kind", HUBS)
def test_columns_configurations_and_splits_become_domains(
    kind: str, library: Callable[..., None], tmp_path: Path
) -> None:
    choice, configurations = HUBS[kind]
    library(configurations)
    assert "images in trainA" in hub.write_hub_dataset(f"hf:user/name{choice}", tmp_path / "data")
    found = find_domains(tmp_path / "data")
    assert [len(found.train.a), len(found.train.b)] == ([2, 2] if kind == "columns chosen" else [3, 2])
    assert len(found.test.a) == (0 if kind in ("columns chosen", "two splits", "splits chosen") else 1)
    assert all(path.suffix == ".jpg" for path in found.train.a)
    assert hub.write_hub_dataset(f"hf:user/name{choice}", tmp_path / "data") == "already there"


def test_hub_files_are_written_unchanged(library: Callable[..., None], tmp_path: Path) -> None:
    stored = as_archive(tmp_path / "x.jpg", cells(1)[0]["bytes"])
    icons = cells(1, "ICO")  # a format that is not supported
    library(
        {"x": {"a": FakeSplit({"image": [{"bytes": None, "path": str(stored)}]}), "b": FakeSplit({"image": icons})}}
    )
    hub.write_hub_dataset("hf:user/name", tmp_path / "data")
    assert (tmp_path / "data" / "trainA" / "000000.jpg").read_bytes() == stored.read_bytes()
    assert Image.open(tmp_path / "data" / "trainB" / "000000.png").size == (16, 16)


@pytest.mark.parametrize(
    ("configurations", "choice", "wording"),
    [
        ({"a": {}, "b": {}, "c": {}}, "", "has the configurations a, b, c; choose two of them as A and B"),
        (
            {"x": {"train": one(1)}},
            "",
            "has the splits train and the image columns image; choose two of them as A and B",
        ),
        ({"x": {"train": one(1)}}, ":u,v", "as in hf:user/name:A,B"),
        (
            {"x": {"a": FakeSplit({"text": ["x"]}), "b": one(1)}},
            "",
            "needs one image column, but has 0 (text)",
        ),
        ({"a": {"test": one(1), "x": one(1)}, "b": {"train": one(1)}}, "", "no training split for both A and B"),
        ({"x": {"a": FakeSplit({"image": [{"bytes": b"no", "path": None}]}), "b": one(1)}}, "", "could not be loaded"),
    ],
)
def test_ambiguous_or_broken_hub_data_is_explained(
    configurations: dict[str, dict[str, FakeSplit]],
    choice: str,
    wording: str,
    library: Callable[..., None],
    tmp_path: Path,
) -> None:
    library(configurations)
    with pytest.raises(CycleGANError) as raised:
        hub.write_hub_dataset(f"hf:user/name{choice}", tmp_path / "data")
    assert wording in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r'needs datasets; .* pip install "cyclegan\[hub\]"'):
        hub.write_hub_dataset("hf:user/name", tmp_path / "data")


def test_errors_of_the_library_become_one_sentence(library: Callable[..., None], tmp_path: Path) -> None:
    library({})

    def fail(name: str) -> list[str]:
        raise ConnectionError("Couldn't reach the hub.\nMany more lines")

    sys.modules["datasets"].get_dataset_config_names = fail  # type: ignore[attr-defined]
    with pytest.raises(CycleGANError, match=r"^hf:user/name could not be loaded: Couldn't reach the hub\.$"):
        hub.write_hub_dataset("hf:user/name", tmp_path / "data")


@pytest.mark.network
def test_the_marker_file_names_data_set_and_checksum(site: Site, tmp_path: Path, content: bytes) -> None:
    download(tmp_path / "data", site.at("good"))
    marker = json.loads((tmp_path / "data" / ".cyclegan-data.json").read_text())
    assert marker == {"name": "red2blue", "sha256": hashlib.sha256(content).hexdigest()}
