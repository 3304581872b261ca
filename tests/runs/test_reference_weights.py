"""Import and export of the weights of the authors' PyTorch repositories.

The state dicts are made here key by key, and computed with by plain functions on those keys.
"""

import json
import pickle
import re
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from conftest import TINY, flags
from cyclegan import Translator, configure
from cyclegan.cli.app import COMMANDS, option_names
from cyclegan.cli.main import run as run_command
from cyclegan.config.schema import Config, NetworkConfig
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import build_generator
from cyclegan.networks.reference_weights import Network, describe, from_reference, recognize, to_reference
from cyclegan.networks.registry import DISCRIMINATORS, GENERATORS
from cyclegan.runs import publish
from cyclegan.runs.model import read_model
from cyclegan.runs.publish import write_model
from cyclegan.runs.reference_files import export_model, export_obstacle, import_model
from cyclegan.training.trainer import train

State = dict[str, Tensor]
UP_AND_OUT = {6: (16, 19, 23), 9: (19, 22, 26)}  # where the transposed convolutions and the last one are


class Made(State):
    """A state dict with layers added by name."""

    def conv(self, name: str, *shape: int, bias: int | None) -> None:
        self[f"{name}.weight"] = torch.randn(shape) / 5
        if bias is not None:
            self[f"{name}.bias"] = torch.randn(bias)

    def batch_norm(self, name: str, channels: int) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = torch.rand(channels) + 0.5, torch.randn(channels)
        self[f"{name}.running_mean"], self[f"{name}.running_var"] = torch.randn(channels), torch.rand(channels) + 0.5
        self[f"{name}.num_batches_tracked"] = torch.tensor(7)


def made_resnet(blocks: int = 9, width: int = 4, dropout: bool = False, channels: tuple[int, int] = (3, 3)) -> Made:
    made, second, (up, upper, out) = Made(), 6 if dropout else 5, UP_AND_OUT[blocks]
    made.conv("model.1", width, channels[0], 7, 7, bias=width)
    made.conv("model.4", 2 * width, width, 3, 3, bias=2 * width)
    made.conv("model.7", 4 * width, 2 * width, 3, 3, bias=4 * width)
    for block in range(10, 10 + blocks):
        for place in (1, second):
            made.conv(f"model.{block}.conv_block.{place}", 4 * width, 4 * width, 3, 3, bias=4 * width)
    made.conv(f"model.{up}", 4 * width, 2 * width, 3, 3, bias=2 * width)
    made.conv(f"model.{upper}", 2 * width, width, 3, 3, bias=width)
    made.conv(f"model.{out}", channels[1], width, 7, 7, bias=channels[1])
    return made


def by_resnet(t: State, x: Tensor) -> Tensor:
    """What the reference's ResNet computes with instance norm; dropout at rest."""
    blocks = 9 if "model.26.weight" in t else 6
    up, upper, out = UP_AND_OUT[blocks]
    second = 6 if "model.10.conv_block.6.weight" in t else 5

    def conv(x: Tensor, name: str, pad: int) -> Tensor:
        return F.conv2d(F.pad(x, [pad] * 4, mode="reflect"), t[f"{name}.weight"], t[f"{name}.bias"])

    y = F.instance_norm(conv(x, "model.1", 3)).relu()
    for name in ("model.4", "model.7"):
        y = F.instance_norm(F.conv2d(y, t[f"{name}.weight"], t[f"{name}.bias"], stride=2, padding=1)).relu()
    for block in range(10, 10 + blocks):
        z = F.instance_norm(conv(y, f"model.{block}.conv_block.1", 1)).relu()
        y = y + F.instance_norm(conv(z, f"model.{block}.conv_block.{second}", 1))
    for name in (f"model.{up}", f"model.{upper}"):
        weight, bias = t[f"{name}.weight"], t[f"{name}.bias"]
        y = F.instance_norm(F.conv_transpose2d(y, weight, bias, stride=2, padding=1, output_padding=1)).relu()
    return conv(y, f"model.{out}", 3).tanh()


def made_unet(levels: int, width: int = 2, channels: tuple[int, int] = (3, 3)) -> Made:
    made = Made()
    widths = [width, 2 * width, 4 * width] + [8 * width] * (levels - 3)
    made.conv("model.model.0", width, channels[0], 4, 4, bias=None)
    made.conv("model.model.3", 2 * width, channels[1], 4, 4, bias=channels[1])
    place = "model.model.1.model"
    for outer, inner in pairwise(widths[:-1]):
        made.conv(f"{place}.1", inner, outer, 4, 4, bias=None)
        made.batch_norm(f"{place}.2", inner)
        made.conv(f"{place}.5", 2 * inner, outer, 4, 4, bias=None)
        made.batch_norm(f"{place}.6", outer)
        place += ".3.model"
    made.conv(f"{place}.1", widths[-1], widths[-2], 4, 4, bias=None)
    made.conv(f"{place}.3", widths[-1], widths[-2], 4, 4, bias=None)
    made.batch_norm(f"{place}.4", widths[-2])
    return made


def normed(t: State, y: Tensor, name: str) -> Tensor:
    """Batch norm of one image, as while training."""
    return F.batch_norm(y, None, None, t[f"{name}.weight"], t[f"{name}.bias"], training=True)


def by_unet(t: State, x: Tensor) -> Tensor:
    def level(x: Tensor, place: str) -> Tensor:
        y = F.conv2d(F.leaky_relu(x, 0.2), t[f"{place}.1.weight"], stride=2, padding=1)
        if f"{place}.5.weight" in t:
            y = level(normed(t, y, f"{place}.2"), f"{place}.3.model")
            y = normed(t, F.conv_transpose2d(y.relu(), t[f"{place}.5.weight"], stride=2, padding=1), f"{place}.6")
        else:
            y = normed(t, F.conv_transpose2d(y.relu(), t[f"{place}.3.weight"], stride=2, padding=1), f"{place}.4")
        return torch.cat([x, y], 1)

    y = level(F.conv2d(x, t["model.model.0.weight"], stride=2, padding=1), "model.model.1.model")
    y = F.conv_transpose2d(y.relu(), t["model.model.3.weight"], t["model.model.3.bias"], stride=2, padding=1)
    return y.tanh()


def made_patchgan(in_channels: int = 3, width: int = 4) -> Made:
    made = Made()
    for place, before, after in ((0, in_channels, width), (2, width, 2 * width), (5, 2 * width, 4 * width)):
        made.conv(f"model.{place}", after, before, 4, 4, bias=after)
    made.conv("model.8", 8 * width, 4 * width, 4, 4, bias=8 * width)
    made.conv("model.11", 1, 8 * width, 4, 4, bias=1)
    return made


def by_patchgan(t: State, x: Tensor) -> Tensor:
    y = F.leaky_relu(F.conv2d(x, t["model.0.weight"], t["model.0.bias"], stride=2, padding=1), 0.2)
    for place, stride in ((2, 2), (5, 2), (8, 1)):
        y = F.conv2d(y, t[f"model.{place}.weight"], t[f"model.{place}.bias"], stride=stride, padding=1)
        y = F.leaky_relu(F.instance_norm(y), 0.2)
    return F.conv2d(y, t["model.11.weight"], t["model.11.bias"], padding=1)


def made_pixel(width: int = 4) -> Made:
    made = Made()
    made.conv("net.0", width, 3, 1, 1, bias=width)
    made.conv("net.2", 2 * width, width, 1, 1, bias=None)
    made.batch_norm("net.3", 2 * width)
    made.conv("net.5", 1, 2 * width, 1, 1, bias=None)
    return made


def by_pixel(t: State, x: Tensor) -> Tensor:
    y = F.leaky_relu(F.conv2d(x, t["net.0.weight"], t["net.0.bias"]), 0.2)
    y = F.leaky_relu(normed(t, F.conv2d(y, t["net.2.weight"]), "net.3"), 0.2)
    return F.conv2d(y, t["net.5.weight"])


def blur(*weights: float) -> Tensor:
    one = torch.tensor(weights)
    return (one[:, None] * one[None, :])[None, None]


DOWN, UP = blur(1, 2, 1) / 16, blur(1, 3, 3, 1) / 16


def made_blurred_resnet(blocks: int = 9, width: int = 4, dropout: bool = False) -> Made:
    """As of CUT: the kernels of its blurs are among the tensors."""
    plain, made = made_resnet(blocks, width, dropout), Made()
    up, upper, out = UP_AND_OUT[blocks]
    places = {7: 8, up: up + 3, upper: upper + 4, out: out + 4} | {10 + i: 12 + i for i in range(blocks)}
    for name, value in plain.items():
        _, place, *rest = name.split(".")
        made[".".join(["model", str(places.get(int(place), int(place))), *rest])] = value
    for place in (up + 3, upper + 4):  # convolutions, and not transposed ones
        made[f"model.{place}.weight"] = made[f"model.{place}.weight"].transpose(0, 1).contiguous()
    made["model.7.filt"], made["model.11.filt"] = DOWN.repeat(2 * width, 1, 1, 1), DOWN.repeat(4 * width, 1, 1, 1)
    made[f"model.{up + 2}.filt"] = UP.repeat(4 * width, 1, 1, 1)
    made[f"model.{upper + 3}.filt"] = UP.repeat(2 * width, 1, 1, 1)
    return made


def halved(t: State, y: Tensor, name: str) -> Tensor:
    return F.conv2d(F.pad(y, [1] * 4, mode="reflect"), t[f"{name}.filt"], stride=2, groups=y.shape[1])


def doubled(t: State, y: Tensor, name: str) -> Tensor:
    wide = F.conv_transpose2d(
        F.pad(y, [1] * 4, mode="replicate"), t[f"{name}.filt"], stride=2, padding=2, groups=y.shape[1]
    )
    return wide[:, :, 1:-1, 1:-1]


def by_blurred_resnet(t: State, x: Tensor) -> Tensor:
    blocks = 9 if "model.30.weight" in t else 6
    second = 6 if "model.12.conv_block.6.weight" in t else 5

    def conv(x: Tensor, name: str, pad: int, mode: str = "reflect") -> Tensor:
        return F.conv2d(F.pad(x, [pad] * 4, mode=mode), t[f"{name}.weight"], t[f"{name}.bias"])

    y = F.instance_norm(conv(x, "model.1", 3)).relu()
    for place in (4, 8):
        y = halved(t, F.instance_norm(conv(y, f"model.{place}", 1, "constant")).relu(), f"model.{place + 3}")
    for block in range(12, 12 + blocks):
        z = F.instance_norm(conv(y, f"model.{block}.conv_block.1", 1)).relu()
        y = y + F.instance_norm(conv(z, f"model.{block}.conv_block.{second}", 1))
    for place in (12 + blocks, 16 + blocks):
        y = doubled(t, y, f"model.{place}")
        y = F.instance_norm(conv(y, f"model.{place + 1}", 1, "constant")).relu()
    return conv(y, f"model.{21 + blocks}", 3).tanh()


def made_blurred_patchgan(in_channels: int = 3, width: int = 4) -> Made:
    plain, made = made_patchgan(in_channels, width), Made()
    for name, value in plain.items():
        _, place, leaf = name.split(".")
        made[f"model.{ {0: 0, 2: 3, 5: 7, 8: 11, 11: 14}[int(place)] }.{leaf}"] = value
    for place, channels in ((2, width), (6, 2 * width), (10, 4 * width)):
        made[f"model.{place}.filt"] = DOWN.repeat(channels, 1, 1, 1)
    return made


def by_blurred_patchgan(t: State, x: Tensor) -> Tensor:
    def conv(x: Tensor, place: int) -> Tensor:
        return F.conv2d(x, t[f"model.{place}.weight"], t[f"model.{place}.bias"], padding=1)

    y = halved(t, F.leaky_relu(conv(x, 0), 0.2), "model.2")
    for place in (3, 7):
        y = halved(t, F.leaky_relu(F.instance_norm(conv(y, place)), 0.2), f"model.{place + 3}")
    return conv(F.leaky_relu(F.instance_norm(conv(y, 11)), 0.2), 14)


def made_projections(width: int = 4, first: int = 0) -> Made:
    made = Made()
    for number, channels in enumerate((3, 2 * width, 4 * width, 4 * width, 4 * width)[first:]):
        made.conv(f"mlp_{number}.0", 256, channels, bias=256)
        made.conv(f"mlp_{number}.2", 256, 256, bias=256)
    return made


BLURRED: dict[str, Callable[[], Made]] = {"G": made_blurred_resnet, "D": made_blurred_patchgan}
CASES: dict[str, tuple[Callable[[], Made], Callable[[State, Tensor], Tensor], int, dict[str, Any]]] = {
    "resnet 9": (made_resnet, by_resnet, 32, {"generator": "resnet_9blocks", "norm": "instance", "dropout": False}),
    "resnet 6": (lambda: made_resnet(6), by_resnet, 32, {"generator": "resnet_6blocks", "blocks": 6}),
    "resnet 9, dropout": (lambda: made_resnet(dropout=True), by_resnet, 32, {"dropout": True, "generator_width": 4}),
    "resnet 6, dropout": (lambda: made_resnet(6, dropout=True), by_resnet, 32, {"dropout": True}),
    "unet 256": (lambda: made_unet(8), by_unet, 256, {"generator": "unet_256", "norm": "batch"}),
    "unet 128": (lambda: made_unet(7), by_unet, 128, {"generator": "unet_128", "generator_width": 2}),
    "blurred resnet 9": (
        made_blurred_resnet,
        by_blurred_resnet,
        32,
        {"generator": "resnet_9blocks", "antialias": True},
    ),
    "blurred resnet 6, dropout": (
        lambda: made_blurred_resnet(6, dropout=True),
        by_blurred_resnet,
        32,
        {"generator": "resnet_6blocks", "antialias": True, "dropout": True},
    ),
    "blurred patchgan": (made_blurred_patchgan, by_blurred_patchgan, 32, {"discriminator": "basic", "antialias": True}),
    "patchgan": (made_patchgan, by_patchgan, 32, {"discriminator": "basic", "discriminator_width": 4}),
    "pixel": (made_pixel, by_pixel, 32, {"discriminator": "pixel", "norm": "batch"}),
}


def built(network: Network) -> torch.nn.Module:
    config = NetworkConfig(**network.settings)
    if network.part == "generator":
        return build_generator(config, network.in_channels, network.out_channels)
    return build_discriminator(config, network.in_channels)


@pytest.mark.parametrize("case", CASES)
def test_imported_weights_compute_what_the_authors_network_computes(case: str) -> None:
    torch.manual_seed(0)
    make, plain, size, settings = CASES[case]
    theirs, x = make(), torch.rand(1, 3, size, size) * 2 - 1
    network = recognize(theirs)
    assert network.settings.items() >= settings.items()
    ours = built(network)
    ours.load_state_dict(from_reference(theirs, network))
    ours.train(network.settings["norm"] == "batch")  # dropout, which comes with instance norm here, rests
    with torch.no_grad():
        result, expected = ours(x), plain(theirs, x)
    assert result.shape == expected.shape
    assert (result - expected).abs().max() <= 1e-6 * expected.abs().max()


def all_networks() -> Iterator[Any]:
    for norm in ("instance", "batch", "none"):
        for generator in (name for name in GENERATORS.names() if not name.startswith("attention")):
            for dropout, blurred in product((False, True), (False, True) if generator.startswith("res") else (False,)):
                config = NetworkConfig(
                    generator=generator,  # type: ignore[arg-type]
                    generator_width=2,
                    blocks=2,
                    norm=norm,  # type: ignore[arg-type]
                    dropout=dropout,
                    antialias=blurred,
                )
                name = f"{generator}-{norm}{'-dropout' * dropout}{'-antialias' * blurred}"
                yield pytest.param("generator", config, id=name)
        for discriminator, blurred in product(DISCRIMINATORS.names(), (False, True)):
            config = NetworkConfig(
                antialias=blurred,
                discriminator=discriminator,  # type: ignore[arg-type]
                discriminator_width=2,
                discriminator_layers=4,
                norm=norm,  # type: ignore[arg-type]
            )
            yield pytest.param("discriminator", config, id=f"{discriminator}-{norm}{'-antialias' * blurred}")


@pytest.mark.parametrize(("part", "config"), all_networks())
def test_export_and_import_give_equal_weights(part: Any, config: NetworkConfig) -> None:
    ours = built(Network(part, vars(config), 3, 1)).state_dict()
    for name, value in ours.items():  # all different, but for the biases that must be zero
        if not (config.norm == "none" and name.endswith("bias")):
            value.copy_(torch.randn(value.shape) * 100)
    own = {
        "resnet_light",
        "unet_64",
        "space_to_depth",
        "space_to_depth_photo",
        "space_to_depth_4",
        "recolor",
        "recolor_4",
        "dual",
        "projected",
    }  # which the authors' code does not have
    if (kind := getattr(config, part)) in own:
        with pytest.raises(UsageError, match=kind):
            to_reference(ours, describe(ours, part, config))
        return
    network = describe(ours, part, config)
    theirs = to_reference(ours, network)
    again = recognize(theirs)
    assert (again.in_channels, again.out_channels) == (3, 1)
    back = from_reference(theirs, again)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], ours[name]) and back[name].dtype == ours[name].dtype for name in ours)


def test_old_and_data_parallel_state_dicts_load() -> None:
    theirs = made_patchgan()
    for place, channels in ((3, 8), (6, 16), (9, 32)):  # instance norms before PyTorch 0.4
        theirs[f"model.{place}.running_mean"] = torch.zeros(channels)
        theirs[f"model.{place}.running_var"] = torch.ones(channels)
        theirs[f"model.{place}.num_batches_tracked"] = torch.tensor(0)
    old = {f"module.{name}": value for name, value in theirs.items()}
    network = recognize(old)
    assert network == recognize(made_patchgan())
    assert torch.equal(from_reference(old, network)["body.8.bias"], theirs["model.8.bias"])


def test_batch_norms_without_num_batches_tracked_load() -> None:
    theirs = made_pixel()
    del theirs["net.3.num_batches_tracked"]
    assert from_reference(theirs, recognize(theirs))["body.3.num_batches_tracked"] == 0


def test_networks_without_norm_are_written_without_biases() -> None:
    config = NetworkConfig(norm="none", discriminator_width=2)
    ours = build_discriminator(config, 3).state_dict()
    theirs = to_reference(ours, describe(ours, "discriminator", config))
    assert {name for name in theirs if name.endswith("bias")} == {"model.0.bias", "model.11.bias"}
    ours["body.2.bias"] += 1
    with pytest.raises(UsageError, match=r"body\.2\.bias is not zero"):
        to_reference(ours, describe(ours, "discriminator", config))


def test_unexpected_tensors_are_named() -> None:
    for change, sentence in (
        (lambda t: t.pop("model.12.conv_block.1.weight"), r"model\.12\.conv_block\.1\.weight are missing"),
        (lambda t: t.update({"attention.gamma": torch.zeros(1)}), r"attention\.gamma are unexpected"),
        (lambda t: t.update({"model.8.bias": torch.zeros(3)}), r"model\.8\.bias have another shape"),
        (lambda t: t.update({"model.7.filt": t["model.7.filt"] * 2}), r"model\.7\.filt are other blurs"),
    ):
        theirs = made_blurred_resnet()
        change(theirs)
        with pytest.raises(UsageError, match=sentence):
            recognize(theirs)
    with pytest.raises(UsageError, match=r"not a generator or discriminator of the authors' code: fc\.weight"):
        recognize({"fc.weight": torch.zeros(2, 2)})
    with pytest.raises(UsageError, match="this one has 6"):
        recognize(made_unet(6))


def save(folder: Path, **states: State) -> Path:
    """Files as the reference names them: ``latest_G_A`` becomes latest_net_G_A.pth."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, state in states.items():
        epoch, _, part = name.partition("_")
        torch.save(dict(state), folder / f"{epoch}_net_{part}.pth")
    return folder


def test_an_imported_cyclegan_translates_in_both_directions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, back, discriminator = made_resnet(6, channels=(3, 1)), made_resnet(6, channels=(1, 3)), made_patchgan()
    source = save(
        tmp_path / "maps",
        latest_G_A=there,
        latest_G_B=back,
        latest_D_A=made_patchgan(1),
        latest_D_B=discriminator,
        latest_G=there,
    )
    run_command(["import-weights", str(source), "-o", str(tmp_path / "model")])
    message = capsys.readouterr().out
    assert "latest_net_G_B.pth: resnet_6blocks, width 4, channels 1 to 3, norm instance." in message
    assert "latest_net_G.pth is left out" in message
    assert "a model of the method cyclegan, AtoB and BtoA" in message
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert "the model was presumably trained at 286 pixels" in (tmp_path / "model" / "README.md").read_text()
    for direction, state, channels in (("AtoB", there, 3), ("BtoA", back, 1)):
        x = torch.rand(1, channels, 24, 20) * 2 - 1
        result = Translator.load(tmp_path / "model", direction, "cpu", winograd=False).translate(x)  # type: ignore[arg-type]
        assert (result - by_resnet(state, x)).abs().max() <= 1e-6
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert torch.equal(weights["discriminators.D_X.body.0.weight"], discriminator["model.0.weight"])


def test_a_single_generator_translates_in_one_direction(tmp_path: Path) -> None:
    theirs = made_resnet()
    source = save(tmp_path / "horse2zebra_pretrained", latest_G=theirs)
    for given in (source, source / "latest_net_G.pth"):
        write_model(import_model(given)[0], tmp_path / "model", overwrite=True)
        x = torch.rand(1, 3, 16, 16)
        assert (
            Translator.load(tmp_path / "model", winograd=False).translate(x) - by_resnet(theirs, x)
        ).abs().max() <= 1e-6
        with pytest.raises(UsageError, match="translates AtoB only, not BtoA"):
            Translator.load(tmp_path / "model", "BtoA")


def test_safetensors_files_are_imported(tmp_path: Path) -> None:
    save_file(made_resnet(), tmp_path / "latest_net_G_B.safetensors")
    assert import_model(tmp_path)[0].directions == ("BtoA",)


def test_the_method_is_guessed_from_the_networks(tmp_path: Path) -> None:
    for number, (method, states) in enumerate(
        (
            ("pix2pix", {"latest_G": made_unet(7), "latest_D": made_patchgan(6)}),
            ("pix2pix", {"latest_G": made_unet(7)}),
            ("pix2pix", {"latest_G": made_resnet(), "latest_D": made_patchgan(6)}),
            ("pix2pix", {"latest_G": made_resnet(dropout=True)}),
            ("cut", {"latest_G": made_blurred_resnet()}),
            ("cut", {"latest_G": made_resnet(), "latest_D": made_patchgan(3)}),
            ("colorization", {"latest_G": made_unet(7, channels=(1, 2)), "latest_D": made_patchgan(3)}),
            ("cyclegan", {"latest_G": made_resnet()}),
        )
    ):
        for state in states.values():
            unify(state, "instance" if method in ("cyclegan", "cut") else "batch")
        model, message = import_model(save(tmp_path / str(number), **states))
        assert model.method == method
        dropout_unseen = any("Dropout in a U-Net cannot be recognized" in sentence for sentence in message)
        assert dropout_unseen == model.settings["networks"]["generator"].startswith("unet")


def test_an_imported_pix2pix_normalizes_each_image_and_is_exported_unchanged(tmp_path: Path) -> None:
    theirs, discriminator = made_unet(7), made_patchgan(6)
    unify(discriminator, "batch")
    source = save(tmp_path / "facades", latest_G=theirs, latest_D=discriminator)
    model = import_model(source)[0]
    assert model.settings["networks"]["dropout_at_test"]
    model.settings["networks"]["dropout_at_test"] = False  # for a comparison without chance
    write_model(model, tmp_path / "model")
    x = torch.rand(1, 3, 128, 128) * 2 - 1
    ours = Translator.load(tmp_path / "model", winograd=False).translate(x)
    assert (ours - by_unet(theirs, x)).abs().max() <= 1e-6
    files, found = export_model(read_model(tmp_path / "model"))
    options = "--model pix2pix --netG unet_128 --ngf 2 --norm batch --input_nc 3 --output_nc 3 --netD basic --ndf 4"
    assert " ".join(found) == options
    for file, state in (("latest_net_G.pth", theirs), ("latest_net_D.pth", discriminator)):
        assert files[file].keys() == state.keys()
        assert all(torch.equal(files[file][name], state[name]) for name in state)


@pytest.mark.parametrize("method", ["cut", "dcl"])
def test_a_cut_or_dclgan_is_imported_with_its_projections_and_exported_unchanged(
    method: str, tmp_path: Path, data: Path
) -> None:
    states = {"G": made_blurred_resnet(), "D": made_blurred_patchgan(), "F": made_projections()}
    if method == "dcl":
        states = {f"{name}_{domain}": made() for name, made in BLURRED.items() for domain in "AB"}
        states |= {name: made_projections(first=1) for name in ("F1", "F2")}
    source = save(tmp_path / method, **{f"latest_{name}": state for name, state in states.items()})
    model = import_model(source)[0]
    write_model(model, tmp_path / "model")
    x = torch.rand(1, 3, 24, 20) * 2 - 1
    for name in ("G_A", "G_B") if method == "dcl" else ("G",):
        translator = Translator.load(tmp_path / "model", "BtoA" if name == "G_B" else "AtoB", winograd=False)
        assert (translator.translate(x) - by_blurred_resnet(states[name], x)).abs().max() <= 1e-6
    files, found = export_model(read_model(tmp_path / "model"))
    options = (
        f"--model {method} --netG resnet_9blocks --ngf 4 --normG instance --normD instance --input_nc 3 --output_nc 3"
    )
    assert " ".join(found) == f"{options} --netD basic --ndf 4"
    for name, state in states.items():
        written = files[f"latest_net_{name}.pth"]
        assert written.keys() == state.keys()
        assert all(torch.equal(written[key], state[key]) for key in state)
    still = {
        "max_steps": 1,
        "learning_rate": 1e-30,
        "workers": 0,
        "load_size": 36,
        "crop_size": 32,
        "method": "fastcut" if method == "cut" else method,
    }
    run = train(configure("paper", data=data, runs=tmp_path / "runs", init_from=tmp_path / "model", **still))
    started = read_model(run).weights
    assert started.keys() == model.weights.keys()
    for name, value in model.weights.items():
        torch.testing.assert_close(started[name], value, rtol=0, atol=1e-20)


def test_of_two_generators_those_with_blurs_are_of_dclgan(tmp_path: Path) -> None:
    for name, made, method in (("dcl", made_blurred_resnet, "dcl"), ("cycle", made_resnet, "cyclegan")):
        model, _ = import_model(save(tmp_path / name, latest_G_A=made(), latest_G_B=made()))
        assert model.method == method
    model, message = import_model(
        save(tmp_path / "other", latest_G_A=made_resnet(), latest_G_B=made_resnet(), latest_F1=made_projections())
    )
    assert model.method == "dcl"
    assert "latest_net_F1.pth is left out. They do not project the layers 4, 8, 12 and 16" in message[-1]
    alone, _ = import_model(save(tmp_path / "alone", latest_G_A=made_blurred_resnet()))
    with pytest.raises(UsageError, match="needs both generators"):
        export_model(alone)


def test_projections_of_other_layers_are_left_out(tmp_path: Path) -> None:
    model, message = import_model(save(tmp_path, latest_G=made_blurred_resnet(), latest_F=made_projections(8)))
    assert model.method == "cut"
    assert not model.network("projections")
    assert "latest_net_F.pth is left out. They do not project the layers 0, 4, 8, 12 and 16" in message[-1]
    with pytest.raises(UsageError, match="give a generator's file"):
        import_model(tmp_path / "latest_net_F.pth")


def unify(state: Made, norm: str) -> None:
    """Give a PatchGAN or a ResNet with instance norm batch norms instead."""
    if norm == "instance" or any("running_mean" in name for name in state):
        return
    first, last = min(state, key=place), max(state, key=place)
    for name in [n for n in state if n.endswith("bias")]:
        layer = name.removesuffix(".bias")
        keeps = {last.rpartition(".")[0]} | ({first.rpartition(".")[0]} if first.startswith("model.0") else set())
        if layer in keeps:
            continue
        *before, index = layer.split(".")
        channels = len(state.pop(name))
        state.batch_norm(".".join([*before, str(int(index) + 1)]), channels)


def place(name: str) -> int:
    return int(name.split(".")[1])


def test_epochs_are_chosen_by_name(tmp_path: Path) -> None:
    save(tmp_path, latest_G_A=made_resnet(), **{"100_G_A": made_resnet(6), "iter-5_G_A": made_resnet(6)})
    assert import_model(tmp_path)[0].settings["networks"]["blocks"] == 9
    assert import_model(tmp_path, "100")[0].settings["networks"]["blocks"] == 6
    with pytest.raises(UsageError, match=r"no 200_net_….pth; choose with --epoch from 100, iter-5, latest"):
        import_model(tmp_path, "200")


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ({}, "has no files such as latest_net_G_A.pth"),
        ({"latest_D_A": made_patchgan()}, "nothing to translate with"),
        (
            {"latest_G_A": made_resnet(), "latest_G_B": made_resnet(6)},
            "generator resnet_6blocks, but latest_net_G_A.pth",
        ),
        (
            {"latest_G_A": made_resnet(), "latest_G_B": made_resnet(channels=(3, 1))},
            "channels_a 1, but latest_net_G_A.pth has 3",
        ),
        ({"latest_G_A": made_resnet(), "latest_D_A": made_patchgan(1)}, "channels_b 3, but latest_net_D_A.pth has 1"),
        ({"latest_G": made_resnet(), "latest_D": made_patchgan(5)}, "give the generator's file alone"),
        ({"latest_G_A": made_patchgan()}, "latest_net_G_A.pth is a discriminator"),
    ],
)
def test_folders_without_a_model_are_refused(tmp_path: Path, states: dict[str, State], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        import_model(save(tmp_path / "source", **states))


class Malicious:
    """Unpickled, this writes a file."""

    def __init__(self, target: Path):
        self.target = str(target)

    def __reduce__(self) -> Any:
        return eval, (f"open({self.target!r}, 'w').write('gotcha')",)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    gotcha, source, out = tmp_path / "gotcha", tmp_path / "latest_net_G.pth", tmp_path / "model"
    write(made_resnet() | {"model.1.bias": Malicious(gotcha)}, source)
    with pytest.raises(CycleGANError, match=r"latest_net_G\.pth holds more than tensors; it is not loaded") as refused:
        run_command(["import-weights", str(source), "-o", str(out)])
    assert "\n" not in str(refused.value)
    assert not gotcha.exists()
    assert not out.exists()
    with source.open("rb") as file:  # it would be executed
        torch.load(file, weights_only=False) if write is torch.save else pickle.load(file)
    assert gotcha.exists()


def test_files_without_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G.pth"
    for content, sentence in ((b"", "not a file of weights"), (b"PK\3\4 half of it", "not a file of weights")):
        path.write_bytes(content)
        with pytest.raises(CycleGANError, match=sentence):
            import_model(path)
    torch.save({"epoch": 3, "model": {}}, path)
    with pytest.raises(CycleGANError, match="is not a state dict"):
        import_model(path)
    with pytest.raises(UsageError, match="does not exist"):
        import_model(tmp_path / "gone.pth")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = TINY | {"generator": "resnet_6blocks", "init_gain": 0.3, "ema_decay": 0.9, "max_steps": 2}
    return train(configure("paper", data=data, runs=tmp_path_factory.mktemp("runs"), **settings))


def test_a_model_written_from_a_run_translates_as_the_run_does(trained: Path, tmp_path: Path) -> None:
    write_model(read_model(trained), tmp_path / "model")
    x = torch.rand(3, 20, 28)
    for direction in ("AtoB", "BtoA"):
        ours = [Translator.load(p, direction).translate(x) for p in (trained, tmp_path / "model")]  # type: ignore[arg-type]
        assert torch.equal(*ours)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["directions"] == ["AtoB", "BtoA"]
    card = (tmp_path / "model" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: cyclegan\n")
    assert "the model was trained at" in card and "presumably" not in card  # as in that of imported weights


def test_a_model_folder_is_written_completely_or_not_at_all(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = read_model(trained), tmp_path / "model"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(publish, "model_card", full)
        with pytest.raises(CycleGANError, match="cannot be written: No space left on device"):
            write_model(model, folder)
    assert list(tmp_path.iterdir()) == []
    write_model(model, folder)
    with pytest.raises(UsageError, match="model exists; choose another -o, or replace it with --overwrite"):
        write_model(model, folder)
    with monkeypatch.context() as broken:
        broken.setattr(publish, "model_card", full)
        with pytest.raises(CycleGANError, match="cannot be written"):
            write_model(model, folder, overwrite=True)
    assert read_model(folder).weights.keys() == model.weights.keys()
    write_model(model, folder, overwrite=True)
    (tmp_path / "photos").mkdir()
    with pytest.raises(UsageError, match="photos exists; choose another -o"):
        write_model(model, tmp_path / "photos", overwrite=True)


def test_damaged_and_foreign_models_are_refused(trained: Path, tmp_path: Path) -> None:
    write_model(read_model(trained), tmp_path / "model")
    described_by = tmp_path / "model" / "config.json"
    whole = json.loads(described_by.read_text())
    for change, sentence in (
        ({"format": "diffusers"}, "another program wrote it"),
        ({"version": 99}, "this program reads 1"),
        ({"settings": {"networks": {"generator": "vit"}, "loss": {"method": "cyclegan"}}}, "--generator is 'vit'"),
        ({"settings": []}, "is damaged"),
    ):
        described_by.write_text(json.dumps(whole | change))
        with pytest.raises(CycleGANError, match=sentence):
            read_model(tmp_path / "model")


def test_exported_weights_compute_what_the_run_computes(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "checkpoints" / "red2blue"
    run_command(["export-weights", str(trained), "-o", str(out), "--epoch", "7"])
    assert sorted(p.name for p in out.iterdir()) == [f"7_net_{part}.pth" for part in ("D_A", "D_B", "G_A", "G_B")]
    message = capsys.readouterr().out
    options = "--model cycle_gan --netG resnet_6blocks --ngf 4 --norm instance --no_dropout --input_nc 3 --output_nc 3"
    assert f"--name red2blue --epoch 7 {options} --netD basic --ndf 4" in message
    theirs = torch.load(out / "7_net_G_A.pth", weights_only=True)
    x = torch.rand(1, 3, 16, 16)
    averaged = Translator.load(trained, device="cpu", winograd=False).translate(x)
    assert (averaged - by_resnet(theirs, x)).abs().max() <= 1e-6
    back = import_model(out, "7")[0].weights
    ours = read_model(trained).weights
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], ours[name]) for name in ours)
    with pytest.raises(UsageError, match=r"7_net_G_A\.pth exists"):
        run_command(["export-weights", str(trained), "-o", str(out), "--epoch", "7"])


def test_options_for_the_authors_test_script(tmp_path: Path) -> None:
    def options_of(**states: State) -> str:
        folder = save(tmp_path / str(len(list(tmp_path.iterdir()))), **states)
        return " ".join(export_model(import_model(folder)[0])[1])

    alone = options_of(latest_G=made_resnet())
    assert alone.startswith("--model test --model_suffix _A --netG resnet_9blocks --ngf 4 --norm instance --no_dropout")
    assert "--netD" not in alone
    dropped = options_of(latest_G_A=made_resnet(dropout=True), latest_G_B=made_resnet(dropout=True))
    assert dropped.startswith("--model test --model_suffix _A")
    assert "--no_dropout" not in dropped
    sharp = options_of(latest_G=made_resnet(), latest_D=made_patchgan(3))
    assert "--normG instance --normD instance --no_antialias --no_antialias_up --input_nc 3" in sharp


def test_networks_that_the_authors_code_lacks_are_not_exported(tiny: Callable[..., Config]) -> None:
    for settings, sentence in (
        ({}, "not of 1"),
        ({"generator": "resnet_light"}, "no 'resnet_light' networks"),
        ({"antialias": True}, "has no blurs"),
    ):
        config = tiny(max_steps=1, **settings)
        with pytest.raises(UsageError, match=f"{sentence}.*; these weights cannot be exported") as refused:
            export_model(read_model(train(config)))
        assert str(refused.value).partition(";")[0] + "." == export_obstacle(config)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, None),
        ({"method": "pix2pix", "generator": "unet_128"}, None),
        ({"method": "colorization"}, None),
        ({"method": "cut"}, None),
        ({"norm": "none"}, "Without norm"),
        ({"discriminator": "dual"}, "The authors' code has no 'dual' networks."),
    ],
)
def test_settings_say_before_training_whether_their_weights_can_be_exported(
    settings: dict[str, Any], sentence: str | None
) -> None:
    obstacle = export_obstacle(configure("paper", data="nowhere", **settings))
    assert obstacle is None if sentence is None else (obstacle or "").startswith(sentence)


@pytest.mark.parametrize("whole", [True, False])
def test_training_starts_from_a_model_with_or_without_discriminators(data: Path, tmp_path: Path, whole: bool) -> None:
    discriminator = {"latest_D_A": made_patchgan(width=2), "latest_D_B": made_patchgan(width=2)} if whole else {}
    source = save(tmp_path / "theirs", latest_G_A=made_resnet(6), latest_G_B=made_resnet(6), **discriminator)
    model = import_model(source)[0]
    write_model(model, tmp_path / "model")
    settings: dict[str, Any] = TINY | {
        "max_steps": 1,
        "learning_rate": 1e-30,
        "runs": tmp_path / "runs",
        "ema_decay": 0.9,
    }
    adopted = {"generator", "generator_width", "blocks"} | ({"discriminator_width"} if whole else set())
    words = flags(**{name: value for name, value in settings.items() if name not in adopted})
    run_command(["train", str(data), "--preset", "paper", "--init-from", str(tmp_path / "model"), *words])
    config = (tmp_path / "runs" / "red2blue" / "config.toml").read_text()
    assert 'generator = "resnet_6blocks"' in config
    assert f"discriminator_width = {2 if whole else 4}" in config
    weights = load_file(tmp_path / "runs" / "red2blue" / "checkpoints" / "latest" / "weights.safetensors")
    for started in (weights, read_model(tmp_path / "runs" / "red2blue").weights):  # trained, and averaged
        for name, value in model.weights.items():
            torch.testing.assert_close(started[name], value, rtol=0, atol=1e-20)


def test_initial_weights_of_other_networks_are_refused_before_a_run_is_created(
    trained: Path, data: Path, tmp_path: Path
) -> None:
    fits = TINY | {"data": data, "runs": tmp_path / "runs", "init_from": trained, "generator": "resnet_6blocks"}
    for change, sentence in (
        ({"generator": "unet_128"}, "--generator unet_128 does not fit .*, whose networks have resnet_6blocks"),
        ({"discriminator_width": 8}, "--discriminator-width 8 does not fit"),
        ({"init_from": tmp_path / "gone"}, "gone does not exist"),
    ):
        with pytest.raises(UsageError, match=sentence):
            train(configure("paper", **(fits | {"blocks": 1, "max_steps": 1} | change)))
    assert not (tmp_path / "runs").exists()


def test_damaged_initial_weights_are_reported(trained: Path, data: Path, tmp_path: Path) -> None:
    model = read_model(trained)
    del model.weights["generators.G.stem.1.bias"]
    write_model(model, tmp_path / "model")
    settings = TINY | {"data": data, "runs": tmp_path / "runs", "generator": "resnet_6blocks", "max_steps": 1}
    with pytest.raises(CycleGANError, match=r"generators\.G\.stem\.1\.bias is missing"):
        train(configure("paper", init_from=tmp_path / "model", **settings))


def test_the_page_for_newcomers_names_only_existing_options() -> None:
    page = (Path(__file__).parents[2] / "docs" / "coming-from-pytorch-cyclegan.md").read_text(encoding="utf-8")
    rows = [line.split(" | ", 1)[1] for line in page.splitlines() if line.startswith("| ") and " | " in line]
    named = {word for row in rows for word in re.findall(r"`?(--[a-z][a-z0-9-]*)\b(?!_)", row)}
    there_are = {option for command in COMMANDS.values() for option in option_names(command)}
    assert len(named) > 40
    assert {flag.replace("--no-", "--") for flag in named} <= there_are | {"--help"}
