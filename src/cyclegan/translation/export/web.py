"""A web page that translates images in the browser, opened from a folder: no server, and no image leaves the machine.

The runtime is ONNX Runtime Web from the npm registry, downloaded once by `npm pack`, verified, and kept in the user's
cache. Pages opened from a folder can load scripts only, so the model and the runtime are scripts that hold them as
base64.
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

from torch import nn

from cyclegan.data.get.checksums import checksum_file
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.translation.export.onnx import LIBRARIES, ONNX, open_graph, write_graph
from cyclegan.translation.export_formats import ExportJob, Format, register_format
from cyclegan.translation.exported import INPUT, OUTPUT

PACKAGE = "onnxruntime-web@1.30.0"
ARCHIVE = "onnxruntime-web-1.30.0.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
MEMBERS = {  # of the archive, by the name in runtime.js
    "api": "package/dist/ort.wasm.min.js",
    "module": "package/dist/ort-wasm-simd-threaded.mjs",
    "wasm": "package/dist/ort-wasm-simd-threaded.wasm",
}
PAGE = ("index.html", "page.js", "LICENSES.txt")  # copied from this package


def _write(job: ExportJob, path: Path) -> None:
    metadata = job.metadata
    if job.device != "cpu":
        raise UsageError("The web page computes on CPUs; leave out --device.")
    if not {metadata.in_channels, metadata.out_channels} <= {1, 3}:
        raise UsageError("The web page shows gray and color images only; this model has other channels.")
    graph = path.with_name("graph.onnx")
    write_graph(job, graph)
    path.mkdir()
    page = resources.files("cyclegan.translation.export") / "web_page"
    for name in PAGE:
        (path / name).write_bytes((page / name).read_bytes())
    with tarfile.open(runtime_archive(job.web_runtime)) as archive:
        runtime = {name: _encode(archive.extractfile(member).read()) for name, member in MEMBERS.items()}  # type: ignore[union-attr]
    model = metadata.to_strings() | {"input": INPUT, "output": OUTPUT, "graph": _encode(graph.read_bytes())}
    for name, values in (("runtime", runtime), ("model", model)):
        (path / f"{name}.js").write_text(f"const {name.upper()} = {json.dumps(values)};\n", encoding="utf-8")


def _reopen(job: ExportJob, path: Path) -> nn.Module:
    """The page's graph, run by ONNX Runtime outside of the browser."""
    script = (path / "model.js").read_text(encoding="utf-8")
    model = json.loads(script.removeprefix("const MODEL = ").removesuffix(";\n"))
    return open_graph(base64.b64decode(model["graph"]), path, "cpu")


def runtime_archive(from_file: Path | None = None) -> Path:
    """The verified archive of the browser's runtime: `from_file`, or the cached one, which is downloaded if missing.

    Raises `UsageError` for a wrong file or when npm is not installed, and `CycleGANError` when npm fails.
    """
    if from_file is not None:
        if not _is_authentic(from_file):
            raise UsageError(f"{from_file} is not {ARCHIVE} as published on npm; `npm pack {PACKAGE}` downloads it.")
        return from_file
    cached, npm = checksum_file().with_name(ARCHIVE), shutil.which("npm")
    if _is_authentic(cached):
        return cached
    hint = f"download it on a machine with npm by `npm pack {PACKAGE}`, and give the file with --from-file"
    if npm is None:
        raise UsageError(f"The web page needs {PACKAGE} from npm, which is not installed; {hint}.")
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as temporary:
        try:
            subprocess.run([npm, "pack", PACKAGE], cwd=temporary, capture_output=True, check=True, timeout=600)
        except (subprocess.SubprocessError, OSError):
            raise CycleGANError(f"npm could not download {PACKAGE}; try again, or {hint}.") from None
        if not _is_authentic(Path(temporary) / ARCHIVE):
            raise CycleGANError(f"npm's copy of {PACKAGE} is not the published one (its SHA-512 differs); {hint}.")
        return (Path(temporary) / ARCHIVE).replace(cached)


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _is_authentic(archive: Path) -> bool:
    if not archive.is_file():
        return False
    with archive.open("rb") as file:
        return _encode(hashlib.file_digest(file, "sha512").digest()) == SHA512


WEB = Format(
    _write,
    _reopen,
    precisions=ONNX.precisions,
    fixed_size=False,
    libraries=LIBRARIES,
    check=runtime_archive,
    owns=lambda path: all((path / name).is_file() for name in (*PAGE, "runtime.js", "model.js")),
    usage="Open {path}/index.html in a browser.",
)
register_format("web", WEB)
