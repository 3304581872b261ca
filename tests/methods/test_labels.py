"""Label maps: a segmenter trained alongside must read the labels of an image in its translation."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import metrics, tensors
from cyclegan import Translator, diagnose, evaluate, resume, train, write_report
from cyclegan.config.schema import Config, DataConfig, LossConfig, NetworkConfig
from cyclegan.data.datasets import UnpairedImages
from cyclegan.data.get.seasons import write_seasons
from cyclegan.data.layouts import companions, find_domains
from cyclegan.errors import UsageError
from cyclegan.imaging.decode import read_labels
from cyclegan.imaging.image import to_tensor
from cyclegan.imaging.source import UnreadableImage
from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.methods.registry import validate_method
from cyclegan.runs.folder import read_run


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labeled") / "seasons"
    write_seasons(root, size=40, train=4, test=1, maps=True)
    return root


def test_the_segmenter_reads_translations_and_learns_from_real_images_only() -> None:
    torch.manual_seed(0)
    networks = NetworkConfig(generator="resnet", generator_width=4, blocks=1, discriminator_width=4)
    ours = CycleGAN(networks, LossConfig(labels=True, label_classes=3, lambda_labels=5.0), (3, 3)).double()
    x, y = torch.rand(2, 2, 3, 32, 32, dtype=torch.float64)
    classes = torch.randint(0, 4, (2, 32, 32))
    classes[classes == 3] = 255  # no class
    batch = {"A": x, "B": y, "label_A": classes[:, None].double() / 127.5 - 1}
    S, G = ours.discriminators["S"], ours.generators["G"]

    def plain(images: torch.Tensor) -> torch.Tensor:
        chance = torch.softmax(S(images), 1)
        chosen = [-torch.log(chance[n, classes[n, i, j], i, j]) for n, i, j in torch.argwhere(classes < 255).tolist()]
        return torch.stack(chosen).mean()

    images = ours.generate(batch)
    terms = ours.generators_loss(batch, images)
    torch.testing.assert_close(terms["labels_A"], 5 * plain(G(x)))
    assert "labels_B" not in terms
    losses = ours.discriminators_loss(batch, images)
    torch.testing.assert_close(losses["S"], plain(x))
    gradients = torch.autograd.grad(losses["S"], list(ours.generators.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in gradients)
    assert len(ours.independent_losses(losses)) == 3
    torch.testing.assert_close(sum(ours.independent_losses(losses)), sum(losses.values()))


def test_label_maps_keep_their_numbers(labeled: Path, tmp_path: Path) -> None:
    files = find_domains(labeled).train
    maps = companions(files.a, files.roots[0], "A", "label")
    config = DataConfig(load_size=50, crop_size=32, scale_jitter=0.3, rotate=True)
    dataset = UnpairedImages(files, config, 0, companions={"label_A": maps})
    values = torch.cat([((dataset[n, n].images["label_A"] + 1) * 127.5).unique() for n in range(4)])
    torch.testing.assert_close(values, values.round())
    found = set(values.round().int().tolist())
    assert found <= set(range(8))
    assert len(found) > 3
    image = Image.fromarray(np.array([[0, 1], [2, 255]], np.uint8))
    image.putpalette([n for n in range(256) for _ in range(3)][::-1])  # colors in another order than numbers
    image.save(tmp_path / "palette.png")
    assert read_labels(tmp_path / "palette.png")[..., 0].tolist() == [[0, 1], [2, 255]]
    image.convert("RGB").save(tmp_path / "color.png")
    with pytest.raises(UnreadableImage, match=r"color.png is not a label map"):
        read_labels(tmp_path / "color.png")


def test_a_labeled_run_resumes_bit_for_bit_and_can_be_used_like_others(
    tiny: Callable[..., Config], labeled: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"data": labeled, "labels": True, "schedule": "constant", "measure_every": 0}
    straight = train(tiny(**settings, max_steps=4, name="straight"))
    parts = train(tiny(**settings, max_steps=2, name="parts"))
    resume(parts, max_steps=4)
    a, b = tensors(straight), tensors(parts)
    assert [key for key in a if not torch.equal(a[key], b[key])] == []
    assert any("discriminators.S" in key for key in a)
    assert {"labels_A", "labels_B", "S"} <= metrics(straight)[0].keys()
    assert read_run(straight).loss.label_classes == 8
    diagnose(straight)
    outside = next(iter(evaluate(straight))).metrics["kept_change"]  # by testmaskA, which the training did not use
    x, white = (
        to_tensor(Image.open(next((labeled / f).iterdir())).resize((32, 32), 3)) for f in ("testA", "testmaskA")
    )
    fake = Translator.load(straight).translate(x[None])[0]
    kept = (1 - white) / 2
    expected = ((fake - x).abs().mean(0) * kept[0]).sum() / kept.sum()
    assert (outside.value, outside.untranslated) == (pytest.approx(expected.item(), rel=0.02), 0)
    assert "labels read in translations × 1" in write_report(straight).path.read_text()
    Translator.load(straight).save(tmp_path / "model")
    train(tiny(data=labeled, init_from=straight, max_steps=1, measure_every=0, name="without"))  # without labels


def test_labels_are_refused_where_they_do_not_apply(tiny: Callable[..., Config], labeled: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--labels does not apply to --method cut; use cyclegan or dcl"):
        validate_method(tiny(method="cut", labels=True))
    with pytest.raises(UsageError, match="needs a folder labelA or labelB"):
        train(tiny(labels=True))
    copy = tmp_path / "copy"
    shutil.copytree(labeled, copy)
    Image.new("L", (20, 40)).save(copy / "labelB" / "0000005.png")
    with pytest.raises(UsageError, match="different sizes"):
        train(tiny(data=copy, labels=True))
