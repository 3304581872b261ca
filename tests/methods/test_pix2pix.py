"""pix2pix and colorization: losses, pairs on disk, test behavior, resume, and a tiny run from data to report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from conftest import TINY, draw_images, tensors
from cyclegan.config.schema import Config, LossConfig, NetworkConfig
from cyclegan.data.datasets import Batches, PairedImages, make_loader
from cyclegan.data.get import seasons
from cyclegan.data.layouts import SplitFiles, find_pairs, find_single_images, paired_by_name, require_equal_sizes
from cyclegan.errors import UsageError
from cyclegan.evaluation.report.report import write_report
from cyclegan.imaging.decode import image_size, read_image, read_pixels
from cyclegan.imaging.image import to_tensor, to_uint8_image
from cyclegan.imaging.source import UnreadableImage
from cyclegan.methods.colorization import Colorization
from cyclegan.methods.losses import OBJECTIVES, gradient_penalty
from cyclegan.methods.pix2pix import Pix2Pix
from cyclegan.networks.generator import build_generator
from cyclegan.networks.lab import LabGenerator, lab_to_rgb, rgb_to_lab, split_lab
from cyclegan.training.setup import configure
from cyclegan.training.trainer import Interrupted, resume, train
from cyclegan.translation.translator import Translator
from fakes import StopAt

# The smallest U-Net; batch norm, dropout and all the rest as pix2pix has them.
SMALL = TINY | {"generator": "unet_64", "method": "pix2pix"}
NETWORKS = NetworkConfig(generator="unet_64", generator_width=2, discriminator_width=4, norm="batch", dropout=True)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six red images with their blue partners, and three to test on, in two folders."""
    root = tmp_path_factory.mktemp("pairs") / "red2blue"
    for split_, count in (("train", 6), ("test", 3)):
        draw_images(root / f"{split_}A", count, 0)
        draw_images(root / f"{split_}B", count, 2)
    return root


@pytest.fixture(scope="module")
def joined(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pairs, each in one file."""
    root = tmp_path_factory.mktemp("joined") / "red2blue"
    for split_ in ("train", "test"):
        (root / split_).mkdir(parents=True)
        for path in (pairs / f"{split_}A").iterdir():
            halves = [np.asarray(Image.open(pairs / f"{split_}{domain}" / path.name)) for domain in "AB"]
            Image.fromarray(np.concatenate(halves, axis=1)).save(root / split_ / path.name)
    return root


def method(kind: type[Pix2Pix] = Pix2Pix, **loss: Any) -> Pix2Pix:
    torch.manual_seed(0)
    return kind(NETWORKS, LossConfig(**({"objective": "vanilla"} | loss)), (3, 3)).double()


def batch(count: int = 2) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, count, 3, 64, 64, generator=draw, dtype=torch.float64) * 2 - 1
    return {"A": a, "B": b}


def scaled_lab(rgb: Tensor) -> Tensor:
    """L / 50 - 1 and ab / 110, by scikit-image."""
    lab = rgb2lab(((rgb + 1) / 2).permute(0, 2, 3, 1).numpy())
    return torch.from_numpy(lab).permute(0, 3, 1, 2) / torch.tensor([50.0, 110, 110])[:, None, None] - torch.tensor(
        [1.0, 0, 0], dtype=torch.float64
    ).view(3, 1, 1)


def plain(ours: Pix2Pix, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], list[list[Tensor]]]:
    """[P eq. 1, 3 and 4] once more: the terms, and the gradients of D's side and of G's."""
    G, D = ours.G, ours.discriminators["D"]
    torch.manual_seed(5)
    fake = G(x)
    real_says, fake_says = D(torch.cat([x, y], 1)), D(torch.cat([x, fake.detach()], 1))
    terms = {
        "D_real": 0.5 * binary_cross_entropy_with_logits(real_says, torch.ones_like(real_says)),
        "D_fake": 0.5 * binary_cross_entropy_with_logits(fake_says, torch.zeros_like(fake_says)),
    }
    of_d = torch.autograd.grad(terms["D_real"] + terms["D_fake"], [*D.parameters()])
    fake_says = D(torch.cat([x, fake], 1))
    terms["G_GAN"] = 2 * binary_cross_entropy_with_logits(fake_says, torch.ones_like(fake_says))
    terms["G_L1"] = 30 * torch.mean(torch.abs(y - fake))
    of_g = torch.autograd.grad(terms["G_GAN"] + terms["G_L1"], [*G.parameters()])
    return terms, [[*of_d], [*of_g]]


@pytest.mark.parametrize("case", ["AtoB", "BtoA", "colorization"])
def test_losses_and_gradients_against_the_plain_version(case: str) -> None:
    weights: dict[str, Any] = {"lambda_gan": 2.0, "lambda_l1": 30.0}
    data = batch()
    if case == "colorization":
        ours = method(Colorization, **weights)
        x, y = split_lab(data["B"])
        torch.testing.assert_close(torch.cat([x, y], 1), scaled_lab(data["B"]), rtol=0, atol=2e-4)
    else:
        ours = method(direction=case, **weights)
        x, y = data[case[0]], data[case[-1]]
    wanted, (of_d, of_g) = plain(ours, x, y)

    torch.manual_seed(5)  # of the dropout
    images = ours.generate(data)
    terms = ours.discriminators_loss(data, images)
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is None for p in ours.generators.parameters())
    torch.testing.assert_close([p.grad for p in ours.discriminators.parameters()], of_d, rtol=1e-7, atol=1e-10)
    ours.discriminators.requires_grad_(False)
    generated = ours.generators_loss(data, images)
    torch.stack(list(generated.values())).sum().backward()
    torch.testing.assert_close([p.grad for p in ours.generators.parameters()], of_g, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(terms | generated, wanted, rtol=1e-9, atol=1e-12)


def test_wgangp_adds_the_penalty_on_pairs() -> None:
    ours, data = method(objective="wgangp", lambda_gp=3.0), batch()
    images = {"B": data["B"].flip(-1)}
    real, fake = torch.cat([data["A"], data["B"]], 1), torch.cat([data["A"], images["B"]], 1)
    torch.manual_seed(5)
    terms = ours.discriminators_loss(data, images)
    torch.manual_seed(5)
    torch.testing.assert_close(terms["D_gp"], 3 * gradient_penalty(ours.discriminators["D"], real, fake))
    assert terms.keys() == {"D_real", "D_fake", "D_gp"}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_discriminators_side_is_the_sum_of_its_parts(objective: str) -> None:
    gan, (real, fake) = OBJECTIVES[objective], torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gan.discriminator(real, fake), gan.real(real) + gan.fake(fake), rtol=0, atol=0)
    assert gan.real(real + 0.01) != gan.real(real)
    assert gan.fake(fake + 0.01) != gan.fake(fake)


colors = st.tuples(*[st.integers(0, 255)] * 3)


@given(st.lists(colors, min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_lab_and_back_against_scikit_image(pixels: list[tuple[int, int, int]]) -> None:
    rgb = torch.tensor(pixels, dtype=torch.float32).T[None, :, :, None] / 127.5 - 1
    lab = rgb_to_lab(rgb)
    wanted = rgb2lab((rgb.double().numpy() + 1) / 2, channel_axis=1)
    assert np.abs(lab.numpy() - wanted).max() < 0.01
    assert np.abs((lab_to_rgb(lab).numpy() + 1) / 2 - lab2rgb(wanted, channel_axis=1)).max() < 2e-4
    torch.testing.assert_close(lab_to_rgb(lab), rgb, rtol=0, atol=2e-5)


@given(st.lists(st.tuples(st.floats(-20, 120), st.floats(-300, 300), st.floats(-300, 300)), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_any_lab_value_gives_an_image(pixels: list[tuple[float, float, float]]) -> None:
    rgb = lab_to_rgb(torch.tensor(pixels).T[None, :, :, None])
    assert rgb.isfinite().all()
    assert rgb.abs().max() <= 1 + 1e-6


def test_grays_have_no_color() -> None:
    gray = torch.linspace(-1, 1, 256).expand(1, 3, 1, 256)
    lab = rgb_to_lab(gray)
    assert lab[:, 1:].abs().max() < 1e-4
    assert (lab[0, 0, 0, 0].item(), lab[0, 0, 0, -1].item()) == pytest.approx((0, 100), abs=1e-4)


def test_side_by_side_files_are_the_same_pairs_as_two_folders(pairs: Path, joined: Path) -> None:
    two, one = find_pairs(pairs), find_pairs(joined)
    for split_, count in (("train", 6), ("test", 3)):
        rows = [paired_by_name(getattr(domains, split_)) for domains in (two, one)]
        assert [len(each) for each in rows] == [count, count]
        for apart, halves in zip(*rows, strict=True):
            for path, half in zip(apart, halves, strict=True):
                assert np.array_equal(read_image(path), read_image(half))
                assert image_size(half) == image_size(path)
    assert find_pairs(joined / "train").train == one.train
    assert find_pairs(joined / "train").test == SplitFiles(paired=True)
    given_apart = find_pairs(a=pairs / "trainA", b=pairs / "trainB")
    assert (given_apart.train.a, given_apart.train.b) == (two.train.a, two.train.b)
    (joined / "test").rename(joined / "val")
    assert len(find_pairs(joined).test.a) == 3
    (joined / "val").rename(joined / "test")


def test_single_domain_images_are_found_in_every_layout(pairs: Path, tmp_path: Path) -> None:
    assert [len(d.a) for d in (find_single_images(pairs).train, find_single_images(pairs).test)] == [6, 3]
    plain_ = find_single_images(pairs / "trainA")
    assert [len(d.a) for d in (plain_.train, plain_.test)] == [6, 0]
    for split_ in ("train", "val"):
        draw_images(tmp_path / split_ / "deep", 2, 1)
    found = find_single_images(tmp_path)
    assert [len(d.a) for d in (found.train, found.test)] == [2, 2]
    assert found.train.a == found.train.b
    with pytest.raises(UsageError, match="No data was given"):
        find_single_images(None)


@pytest.mark.parametrize("layout", ["pairs", "joined"])
@pytest.mark.parametrize("policy", ["resize_and_crop", "crop", "scale_shortside_and_crop", "none"])
def test_both_of_a_pair_are_cropped_and_flipped_alike(
    layout: str, policy: str, request: pytest.FixtureRequest, tiny: Callable[..., Config]
) -> None:
    """The green of both images of a pair is the same noise."""
    config = tiny(preprocess=policy).data
    dataset = PairedImages(find_pairs(request.getfixturevalue(layout)).train, config, seed=0)
    items = [dataset[epoch, position] for epoch in range(3) for position in range(6)]
    for item in items:
        assert torch.equal(item.images["A"][1], item.images["B"][1])
        assert item.images["A"][0].mean() > item.images["B"][0].mean() + 0.8
    assert len({item.images["A"].numpy().tobytes() for item in items}) > 6 * 1.5  # not the same cut in every epoch
    assert sorted(dataset.item_index(1, p).a for p in range(6)) == list(range(6))
    assert [dataset.item_index(1, p).a for p in range(6)] != [dataset.item_index(2, p).a for p in range(6)]


def test_incomplete_pairs_and_unequal_sizes_are_errors(pairs: Path, tmp_path: Path) -> None:
    for domain in "AB":
        draw_images(tmp_path / f"train{domain}", 4, 0, size=40)
    (tmp_path / "trainB" / "02.png").rename(tmp_path / "trainB" / "lonely.png")
    with pytest.raises(UsageError, match=r"trainA.02.png has no partner in .*trainB \(1 of 4 images of A and 1 of 4"):
        find_pairs(tmp_path)
    (tmp_path / "trainB" / "lonely.png").unlink()
    Image.new("RGB", (40, 41)).save(tmp_path / "trainB" / "02.jpg")
    (tmp_path / "trainB" / "01.png").write_bytes(b"no image")  # is for the loader to name
    with pytest.raises(UsageError, match=r"trainA.02.png and .*trainB.02.jpg are a pair of different sizes, 40x40 and"):
        require_equal_sizes(find_pairs(tmp_path).train)
    (tmp_path / "odd").mkdir()
    Image.new("RGB", (41, 40)).save(tmp_path / "odd" / "x.png")
    half = find_pairs(tmp_path / "odd").train.a[0]
    with pytest.raises(UsageError, match=r"x.png is 41 pixels wide, which cannot be halved"):
        require_equal_sizes(find_pairs(tmp_path / "odd").train)
    with pytest.raises(UnreadableImage, match=r"x.png is 41 pixels wide"):
        read_image(half)


def test_sizes_are_checked_before_a_run_is_made(tmp_path: Path, tiny: Callable[..., Config]) -> None:
    for domain, size in (("A", 40), ("B", 42)):
        draw_images(tmp_path / f"train{domain}", 2, 0, size=size)
    with pytest.raises(UsageError, match="different sizes"):
        train(tiny(**SMALL, data=tmp_path, max_steps=1))
    assert not (tmp_path / "runs").exists()


def test_a_pair_with_an_unreadable_image_is_left_out_whole(tiny: Callable[..., Config], tmp_path: Path) -> None:
    for domain, tint in (("A", 0), ("B", 2)):
        draw_images(tmp_path / f"train{domain}", 3, tint)
    (tmp_path / "trainB" / "01.png").write_bytes(b"no image")
    files = find_pairs(tmp_path).train
    dataset = PairedImages(files, tiny(serial_batches=True, batch_size=3).data, seed=0)
    item, after = dataset[0, 1], dataset[0, 2]
    (sentence,) = item.unreadable.values()
    assert sentence.startswith(f"{tmp_path / 'trainB' / '01.png'} is not an image in a supported format (JPEG, PNG, ")
    assert after.unreadable == {}
    assert torch.equal(item.images["A"][1], item.images["B"][1])
    loaded = next(iter(make_loader(dataset, Batches(len(dataset), 3))))
    assert loaded.images["A"].shape == loaded.images["B"].shape == (3, 3, 32, 32)
    strict = PairedImages(files, tiny(strict=True, serial_batches=True).data, seed=0)
    assert isinstance(strict[0, 1].error, UnreadableImage)


def test_an_image_to_be_colorized_is_read_once(pairs: Path, monkeypatch: pytest.MonkeyPatch, tiny: Any) -> None:
    read: list[object] = []
    monkeypatch.setattr(
        "cyclegan.data.preprocessing.read_pixels",
        lambda path, *args, **_: read.append(path) or read_pixels(path, *args),
    )
    item = PairedImages(find_single_images(pairs).train, tiny().data, seed=0)[0, 0]
    assert len(read) == 1
    assert torch.equal(item.images["A"], item.images["B"])


def generator(**networks: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_generator(NetworkConfig(**(vars(NETWORKS) | networks)), 3, 3)


def test_batch_norm_uses_each_images_statistics_in_eval_mode() -> None:
    network = generator(dropout=False)
    x, y = batch()["A"].float().split(1)
    with torch.no_grad():
        wanted = [network.train()(each) for each in (x, y)]
        before = {k: v.clone() for k, v in network.state_dict().items()}
        got = network.eval()(torch.cat([x, y]))
    torch.testing.assert_close(got, torch.cat(wanted), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_dropout_at_test_is_reproducible_noise() -> None:
    noisy, still = generator(dropout_at_test=True).eval(), generator().eval()
    x = batch()["A"].float()
    with torch.no_grad():
        state = torch.get_rng_state()
        first = noisy(x)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(noisy(x), first)
        torch.testing.assert_close(noisy(x[1:]), first[1:], rtol=1e-4, atol=1e-5)  # whatever else is in the batch
        assert not torch.allclose(still(x), first, atol=1e-3)
        reference = generator(dropout=False).eval()
        torch.testing.assert_close(still(x), reference(x))


def test_half_of_the_channels_are_dropped_and_the_rest_doubled() -> None:
    (layer,) = [m for m in generator(dropout_at_test=True).eval().modules() if isinstance(m, torch.nn.Dropout)]
    kept = layer(torch.ones(2, 64, 8, 8))
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert kept.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(kept[0], kept[1])


def test_lab_generator_changes_colors_and_keeps_lightness() -> None:
    torch.manual_seed(0)
    network = LabGenerator(build_generator(NETWORKS, 1, 2)).eval()
    rgb = torch.rand(1, 3, 50, 70) * 1.2 - 0.6
    with torch.no_grad():
        colored = network(rgb)
        from_gray = network(network.visible_input(rgb))
    assert colored.shape == rgb.shape
    torch.testing.assert_close(colored, from_gray, rtol=0, atol=1e-4)
    torch.testing.assert_close(rgb_to_lab(colored)[:, 0], rgb_to_lab(rgb)[:, 0], rtol=0, atol=1e-2)
    assert network.visible_input(rgb).std(1).max() < 1e-4
    assert colored.std(1).mean() > 1e-4


@pytest.mark.parametrize("name", ["pix2pix", "colorization"])
def test_a_resumed_run_equals_an_uninterrupted_one(name: str, tiny: Callable[..., Config], joined: Path) -> None:
    """Batch norm's buffers, the dropout's random state and sample grids in between among it."""
    budget: dict[str, Any] = {"max_steps": 9, "sample_every": 2, "log_every": 4, "ema_decay": 0.9}
    both = SMALL | budget | {"data": joined, "norm": "batch", "dropout": True, "dropout_at_test": True, "method": name}
    straight = train(tiny(name="straight", **both))
    with pytest.raises(Interrupted):
        train(tiny(name="stopped", **both), monitors=[StopAt(5)])
    a, b = tensors(straight), tensors(resume(straight.parent / "stopped"))
    assert a.keys() == b.keys()
    assert any("running_mean" in key for key in a)
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


def test_pix2pix_from_data_to_report(tmp_path: Path, joined: Path) -> None:
    run = train(configure("paper", **SMALL, data=joined, runs=tmp_path, max_steps=4, sample_every=2, direction="BtoA"))
    assert {p.name for p in (run / "samples").iterdir()} == {f"step-000000{n}-BtoA.png" for n in (1, 2, 4)}
    header = (run / "metrics.csv").read_text().splitlines()[0]
    assert header.endswith("G_GAN,G_L1,D_real,D_fake")
    written = write_report(run)
    assert [sentence[:10] for sentence in written.sentences] == ["blue to re"]
    page = written.path.read_text(encoding="utf-8")
    assert "Blue to red: pix2pix, trained for" in page and "on 6 pairs of red and blue, at" in page
    assert "CycleGAN" not in page.replace("cyclegan", "")
    assert "isola2017image" in page
    assert page.count('class="strip"') == 1

    with pytest.raises(UsageError, match=r"translates BtoA \(blue2red\) only, not AtoB"):
        Translator.load(run, "AtoB")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    torch.manual_seed(1)
    first = Translator.load(run).translate(image)
    torch.manual_seed(2)
    assert np.array_equal(Translator.load(run, "BtoA").translate(image), first)
    assert first.size == image.size


def test_colorization_from_data_to_report(tmp_path: Path, pairs: Path) -> None:
    run = train(
        configure("paper", **SMALL | {"method": "colorization"}, data=pairs, runs=tmp_path, max_steps=4, sample_every=2)
    )
    written = write_report(run)
    assert [sentence[:19] for sentence in written.sentences] == ["gray to color: PSNR"]
    page = written.path.read_text(encoding="utf-8")
    assert "Gray to color: pix2pix in the color space Lab, trained for" in page and "on 6 images, at" in page
    assert "grayscale input, colorized, " in page

    translator = Translator.load(run)
    color = read_image(pairs / "testB" / "00.png")
    gray = to_uint8_image(translator.visible_input(read_pixels(pairs / "testB" / "00.png")))
    colored = translator.translate(color)
    assert (colored.mode, colored.size) == ("RGB", color.size)
    assert colored != gray
    assert translator.translate(color.convert("L")).mode == "RGB"
    for first, second in ((colored, color), (gray, color)):
        lightness = [rgb_to_lab(to_tensor(image)[None])[:, 0] for image in (first, second)]
        assert (lightness[0] - lightness[1]).abs().median() < 0.5  # roundings; some colors are out of sRGB's range


def test_paired_seasons_show_the_same_scenes_and_unpaired_ones_as_before(tmp_path: Path) -> None:
    seasons.write_seasons(tmp_path / "paired", size=16, train=3, test=1, paired=True)
    seasons.write_seasons(tmp_path / "apart", size=16, train=3, test=1)
    paired = find_pairs(tmp_path / "paired")
    assert [len(d.a) for d in (paired.train, paired.test)] == [3, 1]
    for a, b in paired_by_name(paired.train):
        assert np.array_equal(read_image(a), seasons.draw_scene(int(a.stem), "summer", 16))
        assert np.array_equal(read_image(b), seasons.draw_scene(int(a.stem), "winter", 16))
    assert not {p.stem for p in paired.train.a} & {p.stem for p in paired.test.a}
    for part in ("trainA", "testA", "testB"):
        for path in (tmp_path / "apart" / part).iterdir():
            assert path.read_bytes() == (tmp_path / "paired" / part / path.name).read_bytes()
    assert [p.name for p in sorted((tmp_path / "apart" / "trainB").iterdir())] == [f"000000{n}.png" for n in (3, 4, 5)]


def test_settings_of_pix2pix_and_their_contradictions(tmp_path: Path) -> None:
    config = configure("paper", method="pix2pix")
    assert (config.networks.generator, config.networks.norm, config.loss.objective) == ("unet_256", "batch", "vanilla")
    assert (config.loss.lambda_l1, config.loss.pool_size) == (100.0, 0)
    assert configure("small", method="pix2pix").networks.generator == "unet_128"
    configure("paper", method="colorization", a=tmp_path)
    for wrong, sentence in (
        ({"method": "colorization", "a": tmp_path, "b": tmp_path}, "give DATA or --a alone, without --b"),
        ({"method": "colorization", "channels_a": 1}, "needs color images"),
        ({"method": "pix2pix", "a": tmp_path}, "--a needs --b: one folder"),
        ({"direction": "BtoA"}, "--direction does not apply to --method cyclegan"),
    ):
        with pytest.raises(UsageError, match=sentence):
            configure("paper", **wrong)
