"""Exports: each runtime's results at any size, metadata, verification and refused requests."""

import json
import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY, draw_images
from cyclegan import CycleGANError, Translator, UsageError
from cyclegan.cli.main import run as run_command
from cyclegan.config.schema import Config
from cyclegan.methods.method import build_method, method_class
from cyclegan.runs.model import Model, model_settings
from cyclegan.runs.publish import write_model
from cyclegan.system.optional import optional_import
from cyclegan.system.text import quote
from cyclegan.training.setup import configure
from cyclegan.translation.export import web as export_web
from cyclegan.translation.export.export import export
from cyclegan.translation.export.onnx import open_graph
from cyclegan.translation.export.triton import configuration
from cyclegan.translation.export_formats import FORMATS
from cyclegan.translation.exported import ExportedGenerator, ExportMetadata

FIXED = (20, 28)  # height and width; graphs of one size are made quickly

pytest.importorskip("onnx")


def make_model(folder: Path, method: str = "cyclegan", **networks: object) -> Path:
    """A model folder of one generator with random weights."""
    config: Config = configure("paper", **({"data": "x", "method": method} | TINY | networks))  # type: ignore[arg-type]
    torch.manual_seed(0)
    channels = config.data.channels_a, config.data.channels_b
    weights = method_class(method).build_generator(config.networks, *channels).state_dict()
    write_model(
        Model(model_settings(config), {f"generators.G.{k}": v for k, v in weights.items()}, "made by a test"), folder
    )
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "in"
    draw_images(folder, 3, tint=1, size=26)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "resnet")


@pytest.fixture(scope="module")
def onnx(model: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file for any size."""
    out = tmp_path_factory.mktemp("onnx") / "g.onnx"
    export(model, "onnx", out, images=photos)
    return out


@pytest.mark.parametrize("shape", [(2, 3, 20, 32), (1, 3, 37, 21), (1, 3, 5, 66), (3, 3, 1, 2)])
def test_onnx_takes_batches_of_any_size(model: Path, onnx: Path, shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected = Translator.load(model).translate(images)
    torch.testing.assert_close(Translator.load(onnx).translate(images), expected, rtol=0, atol=1e-4)


def test_an_export_has_metadata(onnx: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx)
    words = session.get_modelmeta().custom_metadata_map
    assert words["direction"] == "AtoB"
    assert words["source"] == "made by a test"
    assert words["trained_scale"] == "36"
    assert Translator.load(onnx).scale_note("x.png", (200, 150)) is not None
    assert (words["in_channels"], words["value_range"], words["fixed_size"]) == ("3", "-1 to 1", "any")
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    with pytest.raises(UsageError, match="translates AtoB only, not BtoA"):
        Translator.load(onnx, "BtoA")


def test_a_damaged_export_that_opens_is_refused_when_it_runs(onnx: Path) -> None:
    """Mutated weights of OpenVINO files open, but may give empty images, or not run."""
    export = Translator.load(onnx).generator
    assert isinstance(export, ExportedGenerator)
    with pytest.raises(CycleGANError, match=r"gives images of shape \(0, 8, 8\); export the run again"):
        ExportedGenerator(lambda images: images[:, :0], export.metadata)(torch.zeros(1, 3, 8, 8))
    with pytest.raises(CycleGANError, match=r"cannot be run .* export the run again"):
        ExportedGenerator(lambda images: images / (1 // 0), export.metadata)(torch.zeros(1, 3, 8, 8))


def test_an_export_keeps_the_value_ranges_of_its_model(tmp_path: Path) -> None:
    data = {"channels_a": 2, "channels_b": 1, "range_a": "0 4095", "range_b": "-10 10"}
    model = make_model(tmp_path / "model", **data)
    (tmp_path / "in").mkdir()
    values = np.random.default_rng(0).integers(0, 4096, (*FIXED, 2)).astype(np.uint16)
    np.save(tmp_path / "in" / "x.npy", values)
    export(model, "onnx", tmp_path / "g.onnx", fixed_size=FIXED, images=tmp_path / "in")
    by_model, by_export = (Translator.load(tmp_path / name).translate(values) for name in ("model", "g.onnx"))
    assert by_model.dtype == by_export.dtype
    np.testing.assert_allclose(by_model.astype(float), by_export.astype(float), atol=2)


def test_an_export_is_chosen_and_loaded_by_the_names_of_its_domains(photos: Path, tmp_path: Path) -> None:
    config = configure("paper", **({"data": "x"} | TINY))
    weights = build_method(config, seed=0).state_dict()
    model = Model(model_settings(config), weights, "made by a test", ("horse", "zebra"))
    write_model(model, tmp_path / "model")
    out = tmp_path / "g.onnx"
    export(tmp_path / "model", "onnx", out, fixed_size=FIXED, direction="Zebra2Horse", images=photos)
    for name in ("zebra2horse", "BtoA", None):
        translator = Translator.load(out, name)
        assert (translator.direction, translator.domains) == ("BtoA", ("zebra", "horse"))
    with pytest.raises(UsageError, match=r"translates BtoA \(zebra2horse\) only, not horse2zebra"):
        Translator.load(out, "horse2zebra")


def test_an_export_translates_images_as_its_model_does(model: Path, onnx: Path, photos: Path) -> None:
    image = Image.open(next(photos.iterdir())).resize((31, 19))
    by_model, by_export = (np.asarray(Translator.load(path).translate(image)) for path in (model, onnx))
    assert np.abs(by_model.astype(int) - by_export).max() <= 1


@pytest.mark.parametrize(("name", "suffix"), [("openvino", ".xml"), ("torch-export", ".pt2")])
def test_exports_of_one_size_in_other_formats(
    name: str, suffix: str, model: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"g{suffix}"
    report = export(model, name, out, fixed_size=FIXED, images=photos)
    assert report.images == 3
    assert report.max_difference < 1e-3
    names = {"g.xml", "g.bin"} if name == "openvino" else {"g.pt2"}
    assert {file.name for file in tmp_path.iterdir()} == names
    assert report.bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    if name == "torch-export":
        printed = {"cyclegan": ""}
        torch.export.load(out, extra_files=printed)
        assert json.loads(printed["cyclegan"])["direction"] == "AtoB"
        with pytest.raises(UsageError, match="may run any code"):
            Translator.load(out)
        return
    batch = torch.rand(2, 3, *FIXED)
    torch.testing.assert_close(
        Translator.load(out).translate(batch), Translator.load(model).translate(batch), rtol=0, atol=1e-4
    )
    with pytest.raises(UsageError, match="takes images of 28x20 pixels"):
        Translator.load(out).translate(torch.rand(3, 20, 20))


def test_int8_quantizes_convolutions_and_reports_the_difference(model: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "g.onnx"
    report = export(model, "onnx", out, precision="int8", fixed_size=FIXED, images=photos, min_psnr=5)
    import onnx as library

    operations = {node.op_type for node in library.load(tmp_path / "g.onnx").graph.node}
    assert "QuantizeLinear" in operations
    assert 1e-4 < report.mean_difference < 0.2
    assert Translator.load(tmp_path / "g.onnx").translate(torch.rand(3, *FIXED)).shape == (3, *FIXED)


def test_a_model_folder_in_half_precision(model: Path, photos: Path, tmp_path: Path) -> None:
    whole = export(model, "safetensors", tmp_path / "whole", images=photos)
    half = export(model, "safetensors", tmp_path / "half", precision="float16", images=photos)
    assert whole.max_difference == 0
    assert 0 < half.mean_difference < 1e-2
    assert half.bytes < 0.7 * whole.bytes
    assert (tmp_path / "half" / "README.md").is_file()
    assert Translator.load(tmp_path / "half").translate(torch.rand(3, 8, 8)).shape == (3, 8, 8)


def test_an_export_that_deviates_is_not_written(model: Path, photos: Path, tmp_path: Path) -> None:
    for overwrite in (False, True):
        with pytest.raises(CycleGANError, match=r"PSNR is .* dB, below 300 dB") as raised:
            export(
                model,
                "safetensors",
                tmp_path / "g",
                precision="float16",
                images=photos,
                min_psnr=300,
                overwrite=overwrite,
            )
        assert raised.value.exit_code == 1
        assert list(tmp_path.iterdir()) == []


def test_impossible_requests_are_refused(model: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "there.onnx").write_text("something of the user's")
    requests: list[tuple[str | None, str, dict[str, Any], str]] = [
        ("torch-export", "g.pt2", {"precision": "int8"}, "has no int8; it has float32 and float16"),
        ("safetensors", "g", {"fixed_size": FIXED}, "takes any size; leave out --fixed-size"),
        ("onnx", "g.pb", {}, "must end in .onnx"),
        ("onnx", "there.onnx", {}, "exists; choose another -o"),
        ("onnx", "gone/g.onnx", {}, "does not exist; create it first"),
        (None, "g.cbl", {}, r"g\.cbl is unclear: give --format, or a name that ends in \.onnx, \.xml, \.pt2"),
        (None, "there.onnx", {}, "exists; choose another -o"),
        ("cobol", "g.cbl", {}, "--format is 'cobol'; it must be one of onnx, openvino"),
        ("onnx", "g.onnx", {"device": "abacus"}, "The device 'abacus' is not available on this machine"),
    ]
    for name, out, settings, message in requests:
        with pytest.raises(UsageError, match=message):
            export(model, name, tmp_path / out, images=photos, **settings)
    (tmp_path / "g.bin").write_text("something of the user's")
    with pytest.raises(UsageError, match=r"g\.bin exists; .* replace it with --overwrite"):
        export(model, "openvino", tmp_path / "g.xml", images=photos)
    for name in ("safetensors", "space", "web"):
        with pytest.raises(UsageError, match=f"is not an export to {name}, and is not replaced"):
            export(model, name, photos, images=photos, overwrite=True)
    with pytest.raises(UsageError, match=r"cannot be opened|was not written by"):
        Translator.load(_strange_onnx(tmp_path / "strange.onnx"))
    with pytest.raises(CycleGANError, match=r"there\.onnx cannot be opened"):
        Translator.load(tmp_path / "there.onnx")
    with pytest.raises(UsageError, match="is a model without data to verify the export on"):
        run_command(["export", str(model), "--format", "onnx", "-o", str(tmp_path / "g.onnx")])
    for words in (["--half", "--int8"], ["--fixed-size", "256"]):
        with pytest.raises(UsageError, match=r"choose one|must be HxW"):
            run_command(["export", str(model), "--format", "onnx", *words])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["g.bin", "strange.onnx", "there.onnx"]


@pytest.mark.parametrize(("tf32", "use_tf32"), [(True, 1), (False, 0)])
def test_onnx_runs_on_the_gpu_of_a_runtime_that_has_one(
    onnx: Path, monkeypatch: pytest.MonkeyPatch, tf32: bool, use_tf32: int
) -> None:
    onnxruntime, opened = optional_import("onnxruntime", "export"), []

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc, name-defined]
        def __init__(self, graph: Path, options: Any, providers: list[Any]):
            opened.append(providers)
            super().__init__(graph, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    for device in ("auto", "cuda", "cpu"):
        open_graph(onnx, onnx, device, tf32=tf32)
    on_gpu = [("CUDAExecutionProvider", {"use_tf32": use_tf32}), "CPUExecutionProvider"]
    assert opened == [on_gpu, on_gpu, ["CPUExecutionProvider"]]


def _strange_onnx(path: Path) -> Path:
    """A valid file of another program."""
    import onnx

    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Abs", ["x"], ["y"])], "g", value[:1], value[1:])
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    return path


def test_a_missing_library_is_named(onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r'needs onnxruntime; .* pip install "cyclegan\[export\]"'):
        Translator.load(onnx)


def test_the_command_prints_the_comparison(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "half"
    run_command(["export", str(model), "--format", "safetensors", "--half", "--images", str(photos), "-o", str(out)])
    printed = capsys.readouterr().out
    assert "Compared with PyTorch on 3 images: max difference" in printed
    assert "of PyTorch's time" in printed
    assert f"Translate with: cyclegan translate {out} INPUT" in printed


def test_a_changed_runtime_of_the_web_page_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runtime.tgz").write_bytes(b"something else")
    with pytest.raises(UsageError, match=r"is not onnxruntime-web-.* as published"):
        export_web.runtime_archive(tmp_path / "runtime.tgz")
    with pytest.raises(UsageError, match="is not onnxruntime-web-"):
        export_web.runtime_archive(tmp_path / "gone.tgz")


PLUGIN = """
import torch
from cyclegan.translation.export_formats import Format, register_format

def write(job, path):
    torch.save(job.module, path)

def reopen(job, path):
    return torch.load(path, weights_only=False)

register_format("pickle", Format(write, reopen, suffix=".pickle"))
"""


def test_another_package_adds_a_format_by_an_entry_point(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "pickle_format-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: pickle-format\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[cyclegan.exporters]\npickle = pickle_format\n")
    (tmp_path / "site" / "pickle_format.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert "pickle" in FORMATS.names()
    report = export(model, "pickle", tmp_path / "g.pickle", fixed_size=FIXED, images=photos)
    assert report.path.is_file()
    assert report.max_difference == 0


GENERATORS = {
    "resnet_9blocks": {"generator": "resnet_9blocks"},
    "resnet_6blocks, batch": {"generator": "resnet_6blocks", "norm": "batch"},
    "antialias": {"antialias": True},
    "light": {"generator": "resnet_light"},
    "unet_64, batch, dropout": {"generator": "unet_64", "norm": "batch", "dropout": True, "dropout_at_test": True},
    "unet_128": {"generator": "unet_128"},
    "unet_256": {"generator": "unet_256", "norm": "batch"},
    "space_to_depth": {"generator": "space_to_depth"},
    "attention": {"generator": "attention", "attention_masks": 3},
    "recolor": {"generator": "recolor"},
    "colorization": {"method": "colorization", "generator": "unet_64", "norm": "batch"},
}


@pytest.mark.slow
@pytest.mark.parametrize("generator", GENERATORS)
def test_every_generator_is_exported_to_every_runtime(generator: str, photos: Path, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", **({"generator_width": 4} | GENERATORS[generator]))  # type: ignore[arg-type]
    for name, out in (("onnx", "g.onnx"), ("openvino", "g.xml"), ("torch-export", "g.pt2")):
        assert export(folder, name, tmp_path / out, images=photos).max_difference < 1e-3
    for shape in ((2, 3, 64, 129), (1, 3, 7, 300)):
        images = torch.rand(shape) * 2 - 1
        by_onnx, by_openvino = (Translator.load(tmp_path / out).translate(images) for out in ("g.onnx", "g.xml"))
        torch.testing.assert_close(by_onnx, by_openvino, rtol=0, atol=1e-3)


@pytest.mark.slow
def test_the_web_page_translates_in_a_browser(model: Path, photos: Path, tmp_path: Path) -> None:
    from page_in_browser import chromium, translated_by_page

    if chromium() is None:
        pytest.skip("no Chromium here")
    try:
        archive = export_web.runtime_archive()
    except CycleGANError:
        pytest.skip("the browser's runtime cannot be fetched here")
    export(model, "web", tmp_path / "page", web_runtime=archive, images=photos)
    image = sorted(photos.iterdir())[0]
    found = np.asarray(translated_by_page(tmp_path / "page", image, tmp_path / "page.png")).astype(int)
    expected = np.asarray(Translator.load(model).translate(Image.open(image).convert("RGB")))
    assert np.abs(found - expected).max() <= 1


@pytest.mark.slow
def test_the_page_of_a_space_translates_as_the_model(model: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    export(model, "space", tmp_path / "space", images=photos)
    assert (tmp_path / "space" / "README.md").read_text("utf-8").startswith("---\ntitle: ")
    translate = runpy.run_path(str(tmp_path / "space" / "app.py"))["translate"]
    image = Image.open(sorted(photos.iterdir())[0]).convert("RGB")
    before, after = translate(image)
    assert before.tobytes() == image.tobytes()
    expected = np.asarray(Translator.load(model).translate(image)).astype(int)
    assert np.abs(np.asarray(after) - expected).max() <= 1
    large, _ = translate(image.resize((1600, 1000)).convert("RGBA"))
    assert large.mode == "RGB" and large.width * large.height <= 1_001_000
    export(model, "space", tmp_path / "space", images=photos, overwrite=True)


def test_the_configuration_for_triton_describes_the_graph(
    model: Path, onnx: Path, photos: Path, tmp_path: Path
) -> None:
    import onnxruntime

    out = tmp_path / "horse2zebra"
    report = export(model, "triton", out, fixed_size=FIXED, images=photos)
    assert FORMATS["triton"].usage_of(out) == f"Serve it with: tritonserver --model-repository {quote(tmp_path)}"
    fixed, config = out / "1" / "model.onnx", out / "config.pbtxt"
    assert report.bytes == fixed.stat().st_size + config.stat().st_size
    any_size = onnxruntime.InferenceSession(onnx)
    metadata = ExportMetadata.from_strings(any_size.get_modelmeta().custom_metadata_map, onnx)
    for session, text, batches in (
        (onnxruntime.InferenceSession(fixed), config.read_text("utf-8"), False),
        (any_size, configuration(metadata), True),
    ):
        assert 'backend: "onnxruntime"' in text
        assert batches == ("max_batch_size: 0\n" not in text) == ("dynamic_batching {}" in text)
        for key, value in (("input", *session.get_inputs()), ("output", *session.get_outputs())):
            pattern = rf'^{key}: \[\{{name: "(\w+)", data_type: (\w+), dims: \[(.*)\]\}}\]$'
            ((name, kind, dims),) = re.findall(pattern, text, re.M)
            assert (name, kind) == (value.name, {"tensor(float)": "TYPE_FP32"}[value.type])
            described = [-1] * batches + [int(word) for word in dims.split(",")]  # Triton adds the batch's dimension
            assert described == [side if isinstance(side, int) else -1 for side in value.shape]
        if find_spec("tritonclient") is not None:  # which does not go with the other versions in constraints.txt
            from google.protobuf import text_format
            from tritonclient.grpc.model_config_pb2 import ModelConfig

            assert text_format.Parse(text, ModelConfig()).input[0].name == "images"
    with pytest.raises(UsageError, match="exists; choose another -o, or replace it with --overwrite"):
        export(model, "triton", out, images=photos)
