"""Hostile clients for a server: `campaign` sends what they send, and says how the server failed, if it did.

`make abuse` sends 1,000 requests to `cyclegan serve` in a process of its own; the tests send some in theirs.
"""

import json
import random
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import httpx

from serving import encoded

Address = tuple[str, int]
POST = "POST /v1/translate{} HTTP/1.1\r\nHost: localhost\r\n"


def raw(address: Address, *parts: bytes, pause: float = 0.0, shut: bool = False) -> bytes:
    """The answer to bytes that are sent with pauses between them; `shut` disconnects instead of waiting for one."""
    stop, received = Event(), b""
    with socket.create_connection(address, timeout=20) as connection, suppress(ConnectionError):
        for part in parts:
            connection.sendall(part)
            stop.wait(pause)
        while not shut and (data := connection.recv(1 << 16)):
            received += data
    return received


def request(body: bytes, *headers: str, query: str = "", length: int | None = None) -> bytes:
    """A POST of these bytes, which declares its length or another one, and closes the connection afterwards."""
    lines = [*headers, f"Content-Length: {len(body) if length is None else length}", "Connection: close"]
    return (POST.format(query) + "\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


IMAGE = "Content-Type: image/png"


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG file that claims a size, with any data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def form(name: str, filename: str, body: bytes, ending: str = "--\r\n") -> tuple[bytes, str]:
    """A multipart form with one part, and its content type."""
    disposition = f'form-data; name="{name}"; filename="{filename}"'
    part = f"--b\r\nContent-Disposition: {disposition}\r\n\r\n".encode("utf-8", "surrogateescape")
    return part + body + f"\r\n--b{ending}".encode(), "Content-Type: multipart/form-data; boundary=b"


def truncated(address: Address, rng: random.Random) -> bytes:
    kind = rng.choice(["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
    whole = encoded(40, 40, kind)
    return raw(address, request(whole[: rng.randrange(len(whole))], IMAGE))


def mutated(address: Address, rng: random.Random) -> bytes:
    data = bytearray(encoded(40, 40, rng.choice(["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])))
    for _ in range(rng.randrange(1, 30)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return raw(address, request(bytes(data), IMAGE))


def bomb(address: Address, rng: random.Random) -> bytes:
    side = rng.choice([7_000, 60_000, 2**31 - 1])
    return raw(address, request(png(side, side, zlib.compress(bytes(1 << 20))), IMAGE))


def array_bomb(address: Address, rng: random.Random) -> bytes:
    shape = rng.choice(["(60000, 60000, 3)", "(7000, 7000, 3)", "(1, 2, 3, 4)", "(-1, 3)"])
    text = f"{{'descr': '{rng.choice(['|u1', '<f8', '|O'])}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return raw(address, request(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(100), IMAGE))


def polyglot(address: Address, rng: random.Random) -> bytes:
    parts = [encoded(), b"<script>alert(1)</script>", b"PK\x03\x04" + bytes(40), b"%PDF-1.7\n", b"#!/bin/sh\nid\n"]
    rng.shuffle(parts)
    return raw(address, request(b"".join(parts[: rng.randrange(1, 4)]), IMAGE))


def wrong_type(address: Address, rng: random.Random) -> bytes:
    kinds = ["text/html", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "image/", "\xff"]
    return raw(address, request(encoded(), f"Content-Type: {rng.choice(kinds)}"))


def declared(address: Address, rng: random.Random) -> bytes:
    return raw(address, request(encoded(), IMAGE, length=rng.choice([2 << 30, 10**30])))


def endless(address: Address, rng: random.Random) -> bytes:
    head = (POST.format("") + f"{IMAGE}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n").encode()
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    return raw(address, head, *[chunk] * 4, b"0\r\n\r\n")


def bad_length(address: Address, rng: random.Random) -> bytes:
    lines = rng.choice([["-5"], ["abc"], ["3", "4"], ["1e9"]])
    return raw(address, (POST.format("") + "".join(f"Content-Length: {n}\r\n" for n in lines) + "\r\nabc").encode())


def smuggled(address: Address, rng: random.Random) -> bytes:
    body = b"0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    return raw(address, request(body, IMAGE, "Transfer-Encoding: chunked"))


def slow(address: Address, rng: random.Random) -> bytes:
    whole = request(encoded(), IMAGE)
    step = len(whole) // rng.choice([3, 8])
    return raw(address, *(whole[at : at + step] for at in range(0, len(whole), step)), pause=0.4)


def slow_headers(address: Address, rng: random.Random) -> bytes:
    return raw(address, *[b"POST /v1/tr", b"anslate HTTP", b"/1.1\r\n", b"Host: x\r\n", b"X: y\r\n"], pause=0.5)


def disconnect(address: Address, rng: random.Random) -> bytes:
    whole = request(encoded(200, 200), IMAGE)
    return raw(address, whole[: rng.randrange(20, len(whole) + 1)], shut=True)


def path_name(address: Address, rng: random.Random) -> bytes:
    names = [
        "../../etc/passwd",
        "/etc/cron.d/x",
        "C:\\x.png",
        "a\x00b",
        "x" * 9000,
        "\udcff",
        "~/.ssh/id",
        "|id",
        "$(id)",
    ]
    body, kind = form("image", rng.choice(names), rng.choice([encoded(), b""]), rng.choice(["--\r\n", ""]))
    return raw(address, request(body, kind))


def odd_form(address: Address, rng: random.Random) -> bytes:
    body, kind = form(rng.choice(["file", "image\r\nX: y", ""]), "x", encoded())
    return raw(address, request(body * rng.choice([1, 30]), kind))


def odd_headers(address: Address, rng: random.Random) -> bytes:
    lines = ["X-Request-ID: a\tb", "X-Request-ID: ../../x", "Cookie: " + "a" * 70_000, "Expect: 100-continue"]
    lines += ["Host: evil.example", "Upgrade: websocket\r\nConnection: upgrade", "Content-Encoding: gzip", "Ra nge: x"]
    return raw(address, request(encoded(), IMAGE, rng.choice(lines)))


def odd_query(address: Address, rng: random.Random) -> bytes:
    queries = ["size=99999999999999999999", "size=-1", "size=1e3", "model=../../etc", "format=exe", "quality=1000"]
    queries += ["direction=%00", "size=5&size=6", "model=%ff%fe", "direction=" + "x" * 20_000, "size=keep'--"]
    return raw(address, request(encoded(), IMAGE, query="?" + rng.choice(queries)))


def odd_path(address: Address, rng: random.Random) -> bytes:
    paths = ["/../../etc/passwd", "/v1/%2e%2e/%2e%2e/x", "//", "*", "/v1/translate/../models", "/%00"]
    method = rng.choice(["GET", "PUT", "TRACE", "BREW"])
    return raw(address, f"{method} {rng.choice(paths)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())


def noise(address: Address, rng: random.Random) -> bytes:
    return raw(address, rng.randbytes(rng.randrange(1, 5000)) + b"\r\n\r\n")


ATTACKS: list[Callable[[Address, random.Random], bytes]] = [
    truncated, mutated, bomb, array_bomb, polyglot, wrong_type, declared, endless, bad_length, smuggled, slow,
    slow_headers, disconnect, path_name, odd_form, odd_headers, odd_query, odd_path, noise,
]  # fmt: skip


def failure(answer: bytes) -> str | None:
    """What is wrong with an answer, if anything: an error of the server, or one that is not explained in a sentence."""
    if not answer:
        return None  # the connection was closed
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    if status >= 500 and status != 503:
        return f"status {status}"
    if b"Traceback" in answer or b"site-packages" in answer:
        return "a traceback"
    if status >= 400 and b"problem+json" in head:
        detail = json.loads(body)["detail"]
        return None if detail.strip() and "\n" not in detail and "/tmp" not in detail else f"the sentence {detail!r}"
    return None


def campaign(address: Address, count: int, threads: int = 16, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """The statuses of the answers to `count` requests of all kinds, and all failures; `/healthz` is asked meanwhile."""
    statuses: Counter[str] = Counter()
    failures = []

    def one(number: int) -> tuple[str, bytes]:
        attack = ATTACKS[number % len(ATTACKS)]
        try:
            return attack.__name__, attack(address, random.Random(seed + number))
        except TimeoutError:
            return attack.__name__, b"HTTP/1.1 599 No answer, and the connection stays open"

    url = f"http://{address[0]}:{address[1]}/healthz"
    with ThreadPoolExecutor(threads) as pool, httpx.Client(trust_env=False, timeout=10) as client:
        for name, answer in pool.map(one, range(count)):
            statuses[answer.split()[1].decode() if answer else "closed"] += 1
            if problem := failure(answer):
                failures.append(f"{name}: {problem}")
            if sum(statuses.values()) % 10 == 0 and client.get(url).status_code != 200:
                failures.append("/healthz did not answer")
    return statuses, failures
