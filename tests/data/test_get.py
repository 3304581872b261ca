"""Public data sets: a server that fails in every way, archives that mean harm, the hub, and the commands."""

import errno
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

from conftest import draw_images
from cyclegan.cli import data_get
from cyclegan.cli import main as cli
from cyclegan.data.get import archives, catalogue, download
from cyclegan.data.get import download as checksums
from cyclegan.data.get import download as public
from cyclegan.data.get import huggingface as hub
from cyclegan.data.get.archives import BadArchive, unpack
from cyclegan.data.get.catalogue import CATALOGUE, ENTRIES, Entry
from cyclegan.data.layouts import find_domains, find_pairs
from cyclegan.errors import CycleGANError, UsageError

QUICK = download.RetryPolicy(timeout=0.3, tries=3, first_wait=0.01, longest_wait=0.02)


@dataclass
class Site:
    """A server on this machine: for each path, how it behaves at the first request, the second, and at all others."""

    content: bytes
    behavior: dict[str, list[str]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    port: int = 0
    etag: str = '"one"'

    def at(self, *behavior: str) -> str:
        """A new address that behaves so."""
        path = f"/{len(self.behavior)}.zip"
        self.behavior[path] = list(behavior)
        return f"http://127.0.0.1:{self.port}{path}"

    def ranges(self) -> list[str | None]:
        """The ranges asked for so far."""
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
        """Answer as servers do, but send a share of the bytes only, or lie about their number."""
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
class Told:
    """A watch that remembers, and can be made to stop the work."""

    said: list[str] = field(default_factory=list)
    counts: list[tuple[int, int | None]] = field(default_factory=list)
    interrupt_at: int | None = None

    def begin(self, what: str) -> None:
        self.said.append(what)

    def advance(self, done: int, total: int | None) -> None:
        self.counts.append((done, total))
        if self.interrupt_at is not None and done >= self.interrupt_at:
            raise KeyboardInterrupt

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A zip file like those of the catalogue: 3 and 2 images, 1 of each to test."""
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


def entry(*addresses: str, **more: Any) -> Entry:
    return replace(Entry("red2blue", "red, blue", "none", "nobody"), addresses=addresses, **more)


def obtain(to: Path, *addresses: str, watch: Told | None = None, **more: Any) -> public.Obtained:
    return public.obtain(entry(*addresses, **more), to, watch or Told(), patience=QUICK)


def refused(to: Path, *addresses: str, **more: Any) -> str:
    """What is said of addresses that do not give the data; nothing stays but, perhaps, a download under way."""
    with pytest.raises(CycleGANError) as raised:
        obtain(to, *addresses, **more)
    left = {path.name.removesuffix(".json") for path in to.parent.iterdir()} - {"cache"}
    assert left <= {".red2blue.download"}
    assert "\n" not in str(raised.value)
    return str(raised.value)


# A server, good and bad


def test_a_download_becomes_a_folder_to_train_on(site: Site, tmp_path: Path) -> None:
    to, watch = tmp_path / "data", Told()
    obtained = obtain(to, site.at("good"), watch=watch)
    assert obtained.holds == "3 and 2 images, 1 and 1 to test"
    assert [len(find_domains(to).train.a), len(find_domains(to).test.b)] == [3, 1]
    assert (len(site.content), len(site.content)) in watch.counts
    assert watch.said == ["Downloading", "Unpacking"]
    assert {path.name for path in tmp_path.iterdir()} == {"data", "cache"}
    requests = len(site.requests)
    assert obtain(to, site.at("good")).holds.startswith("already there, 3 and 2 images")
    assert len(site.requests) == requests


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
def test_a_cut_download_goes_on_where_it_was_cut(site: Site, tmp_path: Path, validator: str) -> None:
    half, watch = len(site.content) // 2, Told()
    obtain(tmp_path / "data", site.at(f"good 0.5 0 {validator}", f"good 1 0 {validator}"), watch=watch)
    assert site.ranges() == [None, f"bytes={half}-"]
    assert "cut the connection after" in watch.said[1] and "trying again in 0 s" in watch.said[1]


def test_many_cuts_are_no_reason_to_give_up_while_bytes_come(site: Site, tmp_path: Path) -> None:
    obtain(tmp_path / "data", site.at(*["good 0.3"] * 8, "good"))
    assert len(site.requests) == 9 > QUICK.tries


@pytest.mark.parametrize("behavior", ["good 0.5 0 -", "chunked 0.5"])
def test_without_a_mark_of_the_version_it_begins_anew(site: Site, tmp_path: Path, behavior: str) -> None:
    obtain(tmp_path / "data", site.at(behavior, behavior.replace("0.5", "1")))
    assert site.ranges() == [None, None]


def test_a_file_that_changed_between_two_tries_begins_anew(site: Site, tmp_path: Path) -> None:
    refused(tmp_path / "data", address := site.at("good 0.5", "status 503"))
    site.etag, site.behavior["/0.zip"] = '"two"', ["good"]
    assert obtain(tmp_path / "data", address).holds.startswith("3 and 2")
    assert site.ranges()[-1] == f"bytes={len(site.content) // 2}-"


def test_a_stopped_download_is_kept_and_gone_on_with(site: Site, tmp_path: Path) -> None:
    address = site.at("good")
    for _ in range(2):  # the second time all of it is there, and the server says so by 416
        with pytest.raises(KeyboardInterrupt):
            obtain(tmp_path / "data", address, watch=Told(interrupt_at=len(site.content) // 2))
    kept = (tmp_path / ".red2blue.download").stat().st_size
    assert kept
    obtain(tmp_path / "data", address)
    assert site.ranges()[-1] == f"bytes={kept}-"
    assert not (tmp_path / ".red2blue.download").exists()


@pytest.mark.parametrize("trouble", ["late", "gone", "status 503", "status 429 7", "chunked 0.1", "good 1 5000"])
def test_what_may_pass_is_tried_again(site: Site, tmp_path: Path, trouble: str) -> None:
    assert obtain(tmp_path / "data", site.at(trouble, "good")).holds
    assert len(site.requests) == 2


@pytest.mark.parametrize(
    ("trouble", "tries", "said"),
    [
        ("late", 3, "does not answer in time (3 times in a row)"),
        ("gone", 3, "(3 times in a row)"),
        ("status 503", 3, "answers 503 Service Unavailable (3 times in a row)"),
        ("status 404", 1, "answers 404 Not Found."),
        ("page", 1, "answers with a web page instead of an archive."),
        ("page application/zip", 1, "answers with a web page instead of an archive."),
        ("redirect", 6, "redirects in a circle, or more than 5 times."),
        ("redirect ftp://127.0.0.1/x", 1, "redirects to ftp://127.0.0.1/x, which is not encrypted"),
        ("good 1 5000 -", 3, "cut the connection after"),  # said to be longer than it is
        ("good 1 -500", 1, "is damaged or cut short"),
        ("wrongpart", 2, "answers with another part than asked for"),
    ],
)
def test_what_will_not_pass_is_said_in_one_sentence(
    site: Site, tmp_path: Path, trouble: str, tries: int, said: str
) -> None:
    sentence = refused(tmp_path / "data", site.at(trouble))
    assert said in sentence and sentence.startswith("red2blue could not be downloaded: ")
    assert "--from-file" in sentence
    if said.startswith("redirects in"):
        assert len(site.requests) >= 2
    else:
        assert len(site.requests) == tries


def test_the_next_address_is_taken(site: Site, tmp_path: Path) -> None:
    addresses = [
        site.at(each) for each in ("status 404", "page", "good 1 -500", "status 500", "redirect /4.zip", "good")
    ]
    site.behavior["/4.zip"] = ["redirect /5.zip"]
    assert obtain(tmp_path / "data", *addresses).holds
    paths = [path for path, _ in site.requests]
    assert paths == ["/0.zip", "/1.zip", "/2.zip", *["/3.zip"] * 3, "/4.zip", "/5.zip"]


def test_what_one_address_gave_is_not_gone_on_with_from_another(site: Site, tmp_path: Path) -> None:
    first, second = site.at("good 0.5", "status 404"), site.at("status 404")
    assert "are kept in" in refused(tmp_path / "data", first, second)
    site.behavior["/1.zip"] = ["good"]
    obtain(tmp_path / "data", second)
    assert site.ranges()[-1] is None


def test_nobody_listens(tmp_path: Path) -> None:
    assert "127.0.0.1:9 is out of reach (Connection refused)" in refused(tmp_path / "data", "http://127.0.0.1:9/x.zip")


def test_an_encrypted_connection_is_not_given_up() -> None:
    with pytest.raises(download.PermanentError, match="not encrypted"):
        download._Redirects().redirect_request(
            Request("https://a.test/x"), io.BytesIO(), 302, "Found", Message(), "http://a.test/x"
        )
    assert isinstance(download._network(ssl.SSLCertVerificationError()), download.PermanentError)


def test_waits_double_vary_and_have_an_end() -> None:
    patience = download.RetryPolicy(first_wait=1, longest_wait=60)
    waits = [[patience.wait(failures, 0) for _ in range(50)] for failures in (1, 2, 3, 20)]
    assert all(full / 2 <= wait <= full for full, each in zip((1, 2, 4, 60), waits, strict=True) for wait in each)
    assert all(len(set(each)) > 1 for each in waits)
    assert patience.wait(1, asked=30) == 30 and patience.wait(1, asked=10_000) == 60


def test_room_is_looked_for_first(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=5000))
    said = refused(tmp_path / "data", site.at("good"))
    assert f"{catalogue.in_words(2 * len(site.content))} are needed in {tmp_path}" in said and "5.0 kB are free" in said


def test_a_disk_that_fills_up(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = io.BytesIO()
    full.write = lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space"))  # type: ignore[method-assign]
    monkeypatch.setattr(download.Partial, "begin", lambda *_: full)
    assert "is full" in refused(tmp_path / "data", site.at("good"))
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def no_space(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space")

    monkeypatch.setattr(archives, "_write", no_space)
    assert "is full; nothing was written" in refused(tmp_path / "data", site.at("good"))


def test_two_processes_do_not_write_one_file(site: Site, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".red2blue.download.lock"), pytest.raises(CycleGANError, match="by another process"):
        obtain(tmp_path / "data", site.at("good"))
    assert not site.requests


# What is trusted


def test_a_first_download_is_trusted_and_later_ones_must_be_equal(site: Site, tmp_path: Path, content: bytes) -> None:
    (remark,) = obtain(tmp_path / "one", site.at("good")).remarks
    assert "No checksum of red2blue is published, so this first download was trusted" in remark
    assert str(checksums.checksum_file()) in remark and checksums.checksum_file().is_relative_to(tmp_path)
    assert obtain(tmp_path / "two", site.at("good")).remarks == ()
    site.content = content + b"more"
    with pytest.raises(CycleGANError, match=r"as at the first download \(if it has changed for a good reason"):
        obtain(tmp_path / "three", site.at("good"))
    assert not (tmp_path / "three").exists() and not list(tmp_path.glob(".*"))


def test_a_published_checksum_counts_for_every_address(site: Site, tmp_path: Path, content: bytes) -> None:
    sha256 = checksums.hashlib.sha256(content).hexdigest()
    site.content = content + b"more"
    assert "as published" in refused(tmp_path / "data", site.at("good"), sha256=sha256)
    site.content = content
    assert obtain(tmp_path / "data", site.at("good"), sha256=sha256).remarks == ()
    assert not checksums.checksum_file().exists()


@pytest.mark.parametrize("damage", ["{", "[]", '{"red2blue": 1}'])
def test_a_damaged_list_of_checksums_is_named(site: Site, tmp_path: Path, damage: str) -> None:
    checksums.checksum_file().parent.mkdir(parents=True)
    checksums.checksum_file().write_text(damage)
    with pytest.raises(CycleGANError, match=r"checksums\.json is damaged; remove it"):
        obtain(tmp_path / "data", site.at("good"))


# Archives on disk


def from_file(archive: Path, to: Path, **more: Any) -> public.Obtained:
    return public.obtain(entry(**more), to, Told(), archive)


def as_archive(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_an_archive_on_disk(tmp_path: Path, content: bytes) -> None:
    archive = as_archive(tmp_path / "mine.zip", content)
    assert from_file(archive, tmp_path / "data").holds.startswith("3 and 2")
    assert archive.exists() and not checksums.checksum_file().exists()
    (remark,) = from_file(archive, tmp_path / "other", sha256="0" * 64).remarks
    assert "not 000000000000… as published; it was taken all the same" in remark


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_files_of_pairs_keep_their_form(tmp_path: Path, mode: str) -> None:
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        draw_images(tmp_path / "facades" / split, count, 1)
    with tarfile.open(tmp_path / "a.tar", mode) as archive:  # type: ignore[call-overload]
        archive.add(tmp_path / "facades", "facades")
    pairs = entry(layout="paired")
    assert public.obtain(pairs, tmp_path / "data", Told(), tmp_path / "a.tar").holds == "2 pairs, 1 to test"
    assert len(find_pairs(tmp_path / "data").train.a) == 2
    assert (tmp_path / "data" / "val" / "00.png").exists()


def test_photos_to_translate(tmp_path: Path) -> None:
    archive = as_archive(tmp_path / "a.zip", zipped({"ae_photos/testA/1.jpg": b"1", "ae_photos/testA/2.jpg": b"2"}))
    assert from_file(archive, tmp_path / "data", layout="photos").holds == "2 images"
    assert (tmp_path / "data" / "testA" / "1.jpg").exists()


@pytest.mark.parametrize("start", [b"", b"PK", b"hello" * 200])
def test_a_file_that_is_no_archive(tmp_path: Path, start: bytes) -> None:
    with pytest.raises(UsageError, match="is no zip or tar archive"):
        from_file(as_archive(tmp_path / "a.zip", start), tmp_path / "data")
    with pytest.raises(UsageError, match="is no file"):
        from_file(tmp_path / "none.zip", tmp_path / "data")


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    archive = as_archive(tmp_path / "a.zip", zipped({"cats/1.jpg": b"1"}))
    with pytest.raises(CycleGANError, match=r"a\.zip does not hold what red2blue is made of \(trainA and trainB\)"):
        from_file(archive, tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, content: bytes) -> None:
    archive = as_archive(tmp_path / "a.zip", content)
    (tmp_path / "data").mkdir()
    assert from_file(archive, tmp_path / "data").holds  # empty folders are filled
    (tmp_path / "data" / ".cyclegan-data.json").write_text("[]")
    with pytest.raises(CycleGANError, match="exists and is not empty"):
        from_file(archive, tmp_path / "data")


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_cut_and_changed_archives_are_named(tmp_path: Path, ending: str, content: bytes) -> None:
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
        with pytest.raises(BadArchive, match="is damaged or cut short"):
            unpack(cut, tmp_path / f"to{number}")
    if ending in ("zip", "tar.gz"):
        changed = bytearray(whole)
        changed[len(whole) // 3] ^= 255
        with pytest.raises(BadArchive, match="is damaged"):
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
def test_archives_that_mean_harm(tmp_path: Path, kind: str) -> None:
    archive = as_archive(tmp_path / "evil.zip", EVIL[kind])
    with pytest.raises(CycleGANError) as raised:
        from_file(archive, tmp_path / "below" / "data")
    said = {
        "bomb": "unpacks to more than",
        "deep": "40 deep",
        "twice": "holds a twice",
        "made equal": "holds a_b twice",
        "file and folder": "holds a as a file and as a folder",
    }
    for word, sentence in (("link", "a link or device"), ("case", "which are one name on many systems")):
        said |= {word: sentence}
    expected = said.get(kind) or (
        "a path out of its folder"
        if "up" in kind or "absolute" in kind
        else "which are one name on many systems"
        if kind == "accents"
        else "a link or device"
    )
    assert expected in str(raised.value)
    assert {path.name for path in tmp_path.rglob("*")} == {"evil.zip", "below"}


def test_an_archive_with_too_many_files_or_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(BadArchive, match="holds more than 3 files"):
        unpack(as_archive(tmp_path / "a.zip", zip_of("1", "2", "3", "4")), tmp_path / "to")
    locked = bytearray(zip_of("a"))
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BadArchive, match="needs a password"):
        unpack(as_archive(tmp_path / "b.zip", bytes(locked)), tmp_path / "to")


def test_odd_names_become_names_for_every_system(tmp_path: Path) -> None:
    zip_file = as_archive(tmp_path / "a.zip", zip_of("trainA/2011-05-01 12:30:00.jpg", "__MACOSX/x", "a/.DS_Store"))
    tar_file = as_archive(tmp_path / "a.tgz", tar_of("d/caf\udce9.jpg", "d/._x"))
    unflagged = zip_of("xx\u2261.jpg").replace("xx\u2261".encode(), "xxx\u00e9".encode())
    for archive in (zip_file, tar_file, as_archive(tmp_path / "b.zip", unflagged)):
        unpack(archive, tmp_path / "to")
    files = {path.relative_to(tmp_path / "to").as_posix() for path in (tmp_path / "to").rglob("*") if path.is_file()}
    assert {"trainA/2011-05-01 12_30_00.jpg", "d/caf_.jpg", "xxx\u00e9.jpg"} == files


def test_names_written_in_utf8_without_saying_so(tmp_path: Path) -> None:
    plain = zip_of("trainA/XX.jpg").replace(b"XX", "é".encode())
    unpack(as_archive(tmp_path / "a.zip", plain), tmp_path / "to")
    assert (tmp_path / "to" / "trainA" / "é.jpg").exists()


# The catalogue and the commands


def test_entries_are_whole() -> None:
    assert len(CATALOGUE) == len(ENTRIES) == 19
    for each in ENTRIES:
        assert each.shows and each.terms and each.cite
        assert all(address.startswith("https://") for address in each.addresses)
        assert each.sha256 is None or len(bytes.fromhex(each.sha256)) == 32
        assert bool(each.addresses) == bool(each.size) and (each.addresses or each.ask or each.name == "seasons")
    assert len({each.sha256 for each in ENTRIES if each.sha256}) == sum(bool(each.sha256) for each in ENTRIES)


def test_the_document_shows_the_catalogue() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for each in ENTRIES:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{each.name}` |"))
        assert each.shows in row and each.terms in row
        assert not each.size or catalogue.in_words(each.size) in row


@pytest.mark.parametrize(
    ("name", "meant"),
    [("horse2zebr", "horse2zebra"), ("Horse2Zebra", "horse2zebra"), ("edges2shoes", "pix2pix-edges2shoes")],
)
def test_names_nearly_right(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"no data set named '{name}'; `cyclegan data list` shows them. .*{meant}"):
        catalogue.find(name)


@pytest.mark.parametrize(
    ("size", "words"), [(12, "12 bytes"), (1500, "1.5 kB"), (116_867_962, "117 MB"), (1_476_754_427, "1.5 GB")]
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert catalogue.in_words(size) == words


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """The command in this process: its exit code, and what it said on either stream."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cyclegan", "data", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_list(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = command("list")
    assert code == 0
    first_words = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert [word for word in first_words if word in CATALOGUE] == list(CATALOGUE)
    assert "117 MB" in out and "hf:user/name" in out


def test_get(
    command: Callable[..., tuple[int, str, str]], site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, "red2blue", entry(site.at("good")))
    code, out, err = command("get", "red2blue")
    assert (code, err) == (0, "")
    assert out.startswith("data/red2blue: 3 and 2 images, 1 and 1 to test.\nNo checksum of red2blue")
    assert "Terms: none. Please cite nobody.\nTrain with: cyclegan train data/red2blue\n" in out
    assert command("get", "red2blue")[1].startswith("data/red2blue: already there")


def test_get_interrupted(
    command: Callable[..., tuple[int, str, str]], site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(CATALOGUE, "red2blue", entry(site.at("good")))
    monkeypatch.setattr(data_get.ProgressWatch, "advance", interrupted)
    code, _, err = command("get", "red2blue", "-o", "here/mine")
    assert code == 130
    assert f"are kept in {tmp_path / 'here' / '.red2blue.download'}; the same command goes on from there." in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["get", "zebra"], 2, "There is no data set named 'zebra'; `cyclegan data list` shows them."),
        (["get", "cityscapes"], 2, "Cityscapes may not be passed on. Register at https://www.cityscapes-dataset.com"),
        (["get", "horse2zebra", "--size", "64", "--train", "5"], 2, "--train is for seasons only, not for horse2zebra"),
        (["get", "seasons", "--from-file", "x.zip"], 2, "--from-file is not for seasons"),
        (["get", "horse2zebra", "--from-file", "x.zip"], 2, "x.zip is no file"),
        (["get", "hf:nothing"], 2, "'hf:nothing' is no data set of the hub"),
        (["get", "hf:a/b", "--from-file", "x.zip"], 2, "--from-file is not for data sets of the hub"),
        (["fetch"], 2, "There is no command `cyclegan data fetch`; there are list, get"),
    ],
)
def test_wrong_words(command: Callable[..., tuple[int, str, str]], words: list[str], code: int, said: str) -> None:
    ended, out, err = command(*words)
    assert (ended, out) == (code, "")
    assert said in err and err.count("\n") == 1


def test_failed_work_ends_with_1(
    command: Callable[..., tuple[int, str, str]], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, "red2blue", entry(site.at("status 404")))
    code, _, err = command("get", "red2blue")
    assert code == 1 and err.startswith("cyclegan: red2blue could not be downloaded: 127.0.0.1:")


# The hub, at its seam: the functions and classes of the library `datasets` that are used


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
    Image.new("RGB", (4, 4)).save(written, kind)
    return [{"bytes": written.getvalue(), "path": None}] * count


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, dict[str, FakeSplit]]], None]:
    """Install a hub whose data sets have these configurations and splits."""

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
def test_ways_to_hold_two_domains(kind: str, library: Callable[..., None], tmp_path: Path) -> None:
    choice, configurations = HUBS[kind]
    library(configurations)
    assert "images in trainA" in hub.write(f"hf:user/name{choice}", tmp_path / "data")
    found = find_domains(tmp_path / "data")
    assert [len(found.train.a), len(found.train.b)] == ([2, 2] if kind == "columns chosen" else [3, 2])
    assert len(found.test.a) == (0 if kind in ("columns chosen", "two splits", "splits chosen") else 1)
    assert all(path.suffix == ".jpg" for path in found.train.a)
    assert hub.write(f"hf:user/name{choice}", tmp_path / "data") == "already there"


def test_files_are_written_as_they_are_stored(library: Callable[..., None], tmp_path: Path) -> None:
    stored = as_archive(tmp_path / "x.jpg", cells(1)[0]["bytes"])
    icons = cells(1, "ICO")  # a format that we do not read
    library(
        {"x": {"a": FakeSplit({"image": [{"bytes": None, "path": str(stored)}]}), "b": FakeSplit({"image": icons})}}
    )
    hub.write("hf:user/name", tmp_path / "data")
    assert (tmp_path / "data" / "trainA" / "000000.jpg").read_bytes() == stored.read_bytes()
    assert Image.open(tmp_path / "data" / "trainB" / "000000.png").size == (4, 4)


@pytest.mark.parametrize(
    ("configurations", "choice", "said"),
    [
        ({"a": {}, "b": {}, "c": {}}, "", "has the configurations a, b, c; say which two are A and B"),
        ({"x": {"train": one(1)}}, "", "has the splits train with image as images; say which two are A and B"),
        ({"x": {"train": one(1)}}, ":u,v", "as in hf:user/name:A,B"),
        (
            {"x": {"a": FakeSplit({"text": ["x"]}), "b": one(1)}},
            "",
            "has 0 columns of images where one is needed (text)",
        ),
        ({"a": {"test": one(1), "x": one(1)}, "b": {"train": one(1)}}, "", "no split to train on for both A and B"),
        ({"x": {"a": FakeSplit({"image": [{"bytes": b"no", "path": None}]}), "b": one(1)}}, "", "could not be loaded"),
    ],
)
def test_what_is_unclear_or_broken_on_the_hub_is_said(
    configurations: dict[str, dict[str, FakeSplit]],
    choice: str,
    said: str,
    library: Callable[..., None],
    tmp_path: Path,
) -> None:
    library(configurations)
    with pytest.raises(CycleGANError) as raised:
        hub.write(f"hf:user/name{choice}", tmp_path / "data")
    assert said in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"need the extra `hub`: pip install 'cyclegan\[hub\]'"):
        hub.write("hf:user/name", tmp_path / "data")


def test_the_library_s_complaints_are_one_sentence(library: Callable[..., None], tmp_path: Path) -> None:
    library({})

    def fail(name: str) -> list[str]:
        raise ConnectionError("Couldn't reach the hub.\nMany more lines")

    sys.modules["datasets"].get_dataset_config_names = fail  # type: ignore[attr-defined]
    with pytest.raises(CycleGANError, match=r"^hf:user/name could not be loaded: Couldn't reach the hub\.$"):
        hub.write("hf:user/name", tmp_path / "data")


def test_the_marker_says_what_it_is(site: Site, tmp_path: Path, content: bytes) -> None:
    obtain(tmp_path / "data", site.at("good"))
    marker = json.loads((tmp_path / "data" / ".cyclegan-data.json").read_text())
    assert marker == {"name": "red2blue", "sha256": checksums.hashlib.sha256(content).hexdigest()}
