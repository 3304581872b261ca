"""A folder that runs as a Hugging Face Space: a page that translates images, by Gradio and ONNX Runtime."""

from importlib import resources
from pathlib import Path

from torch import nn

from cyclegan.errors import UsageError
from cyclegan.translation.export.onnx import LIBRARIES, ONNX, open_graph, write_graph
from cyclegan.translation.export_formats import ExportJob, Format, register_format

GRAPH = "model.onnx"
FILES = ("app.py", "requirements.txt")  # copied from this package
CARD = """\
---
title: {source} to {target}
sdk: gradio
sdk_version: 6.31.0
app_file: app.py
tags:
- image-to-image
---

# {source} to {target}

Translates images of {source} to {target}, by a generator that was trained with the method `{method}` of
[cyclegan](https://github.com/cyclegan/cyclegan) at {size}×{size} pixels. The page runs on any machine:

```
pip install gradio -r requirements.txt
python app.py
```

The model invents detail that it cannot know: use translations as images, never as a measurement or evidence.
"""


def _write(job: ExportJob, path: Path) -> None:
    metadata = job.metadata
    if not {metadata.in_channels, metadata.out_channels} <= {1, 3} or metadata.range_in:
        raise UsageError("The page of a Space takes gray and color images of 8 bits only; this model takes others.")
    path.mkdir()
    write_graph(job, path / GRAPH)
    files = resources.files("cyclegan.translation.export") / "space_files"
    for name in FILES:
        (path / name).write_bytes((files / name).read_bytes())
    names = {"source": metadata.domain_in, "target": metadata.domain_out}
    card = CARD.format(**names, method=metadata.method, size=metadata.trained_size)
    (path / "README.md").write_text(card, encoding="utf-8")


def _reopen(job: ExportJob, path: Path) -> nn.Module:
    return open_graph(path / GRAPH, path, "cpu")


SPACE = Format(
    _write,
    _reopen,
    precisions=ONNX.precisions,
    fixed_size=False,
    libraries=LIBRARIES,
    owns=lambda path: all((path / name).is_file() for name in (*FILES, GRAPH)),
    usage="Try it with: python {path}/app.py; upload the folder as a Space with the SDK Gradio.",
)
register_format("space", SPACE)
