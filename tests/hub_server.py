"""A stand-in of the Hugging Face hub's server on this machine."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "1234567890123456789012345678901234567890"


class Hub(ThreadingHTTPServer):
    """As much of the hub as models need: repositories of small files, one commit deep."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.forbidden = False  # whether a token is asked for that nobody has

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self) -> None:
        self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/revision/\w+)?", path):
            files = self.server.repositories.get(found[1])
            if files is None:
                return self.missing()
            siblings = [{"rfilename": name} for name in files]
            return self.answer({"id": found[1], "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
        if found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/tree/\w+", path):
            files = self.server.repositories.get(found[1], {})
            return self.answer([{"type": "file", "path": n, "size": len(b), "oid": _oid(b)} for n, b in files.items()])
        if found := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/\w+/(.+)", path):
            content = self.server.repositories.get(found[1], {}).get(found[2])
            if content is None:
                return self.answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return self.answer(content, headers={"ETag": f'"{_oid(content)}"', "X-Repo-Commit": COMMIT})
        return self.answer({"error": f"unknown: {path}"}, 404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.forbidden:
            return self.answer({"error": "Invalid username or password."}, 401)
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted.get('organization', 'me')}/{wanted['name']}"
            self.server.repositories.setdefault(name, {})
            if wanted.get("private") or wanted.get("visibility") == "private":
                self.server.private.add(name)
            return self.answer({"url": f"{self.server.address}/{name}", "id": name, "name": name})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if re.match(r"/api/models/[^/]+/[^/]+/preupload/", self.path):
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            return self.answer({"files": modes})
        if found := re.match(r"/api/models/([^/]+/[^/]+)/commit/", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.repositories[found[1]][line["value"]["path"]] = content
            address = f"{self.server.address}/{found[1]}/commit/{COMMIT}"
            return self.answer({"commitUrl": address, "commitOid": COMMIT, "success": True})
        return self.answer({"error": f"unknown: {self.path}"}, 404)


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
