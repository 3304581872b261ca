"""A page that translates in the browser, from a folder: no server, no network, no picture leaves the machine.

The runtime is ONNX Runtime Web of the npm registry, fetched once by `npm pack`, checked, and kept in the user's cache.
Pages opened from a folder may load scripts only, so model and runtime are scripts that hold them as text.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from importlib import resources
from pathlib import Path

from cyclegan.data.get.download import ledger
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.translation.exported import INPUT, OUTPUT, ExportMetadata

PACKAGE = "onnxruntime-web@1.30.0"
ARCHIVE = "onnxruntime-web-1.30.0.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
MEMBERS = {  # what the page calls them
    "api": "package/dist/ort.wasm.min.js",
    "module": "package/dist/ort-wasm-simd-threaded.mjs",
    "wasm": "package/dist/ort-wasm-simd-threaded.wasm",
}
PAGE = ("index.html", "page.js", "LICENSES.txt")  # as they are in this package


def runtime_archive(from_file: Path | None = None) -> Path:
    """The checked archive of the runtime: the one given, the one kept, or the one fetched now.

    Raises `UsageError` for a wrong file or when npm is not installed, and `CycleGANError` when npm fails.
    """
    if from_file is not None:
        if not from_file.is_file() or not _is_right(from_file):
            raise UsageError(f"{from_file} is not {ARCHIVE} as published on npm; `npm pack {PACKAGE}` fetches it.")
        return from_file
    kept = ledger().with_name(ARCHIVE)
    if not (kept.is_file() and _is_right(kept)):
        _fetch(kept)
    return kept


def write_page(graph: Path, description: ExportMetadata, archive: Path, folder: Path) -> None:
    """Write the page's folder, with an ONNX file and the runtime in it. Raises `UsageError` for odd channels."""
    if not {description.in_channels, description.out_channels} <= {1, 3}:
        raise UsageError("The page shows gray and color images only, and this model has other channels.")
    folder.mkdir()
    page = resources.files("cyclegan.translation.export") / "web_page"
    for name in PAGE:
        (folder / name).write_bytes((page / name).read_bytes())
    with tarfile.open(archive) as opened:
        parts = {name: opened.extractfile(member).read() for name, member in MEMBERS.items()}  # type: ignore[union-attr]
    said = description.words() | {"input": INPUT, "output": OUTPUT}
    _write_script(folder / "runtime.js", "RUNTIME", {name: _text(data) for name, data in parts.items()})
    _write_script(folder / "model.js", "MODEL", said | {"graph": _text(graph.read_bytes())})


def is_page(folder: Path) -> bool:
    """Whether a folder is a page that was exported."""
    return all((folder / name).is_file() for name in (*PAGE, "runtime.js", "model.js"))


def _write_script(path: Path, name: str, values: dict[str, str]) -> None:
    path.write_text(f"const {name} = {json.dumps(values)};\n", encoding="utf-8")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _is_right(archive: Path) -> bool:
    with archive.open("rb") as opened:
        return base64.b64encode(hashlib.file_digest(opened, "sha512").digest()).decode() == SHA512


def _fetch(to: Path) -> None:
    npm = shutil.which("npm")
    advice = f"fetch it where there is npm, with `npm pack {PACKAGE}`, and give the file with --from-file"
    if npm is None:
        raise UsageError(f"The page needs {PACKAGE} of npm, which is not installed; {advice}.")
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as temporary:
        try:
            subprocess.run([npm, "pack", PACKAGE], cwd=temporary, capture_output=True, check=True, timeout=600)
            fetched = Path(temporary) / ARCHIVE
            right = _is_right(fetched)
        except (subprocess.SubprocessError, OSError):
            raise CycleGANError(f"npm could not fetch {PACKAGE}; try again, or {advice}.") from None
        if not right:
            raise CycleGANError(f"{PACKAGE} is not what was published (its SHA-512 is another); {advice}.")
        fetched.replace(to)
