"""The one order of settings: default < method < preset < initial model < user, and where each value came from."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import TINY, draw_images
from cyclegan import CycleGANError, UsageError, configure
from cyclegan.config.presets import PRESETS, Environment
from cyclegan.config.resolve import resolve
from cyclegan.config.schema import Config
from cyclegan.methods.registry import METHODS, method_spec, validate_method

CPU, GPU = Environment(64, None), Environment(256, 24.0)


def resolved(preset: str, method: str = "cyclegan", environment: Environment = CPU, **user: Any) -> Config:
    return validate_method(resolve(preset, method_spec(method), user, environment=environment))


@pytest.mark.parametrize("image_size", [17, 64, 100, 128, 256, 1000])
@pytest.mark.parametrize("memory", [None, 3.0, 24.0])
@pytest.mark.parametrize("method", METHODS.names())
def test_auto_chooses_valid_settings_for_every_method(image_size: int, memory: float | None, method: str) -> None:
    config = resolved("auto", method, Environment(image_size, memory))
    assert config.data.crop_size <= max(32, image_size)
    assert (config.run.max_minutes is None) == (memory is not None)
    assert config.run.precision == ("16-mixed" if memory == 3.0 else "32-true")
    assert f"images of {image_size} pixels" in config.sources["crop_size"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS.names())
def test_presets_win_over_methods_and_leave_the_rest(preset: str, method: str) -> None:
    values = resolved(preset, method).flat()
    expected = Config().flat() | method_spec(method).defaults | PRESETS[preset] | {"method": method}
    if method_spec(method).generator_for_crop is not None:
        expected["generator"] = "unet_128" if preset == "small" else "unet_256"
    assert values == expected


def test_the_user_wins_over_the_initial_model_which_wins_over_the_preset() -> None:
    config = resolve(
        "small",
        method_spec("cut"),
        {"init_from": Path("model"), "ema_decay": 0.0},
        initial_model={"generator_width": 8, "ema_decay": 0.5},
    )
    assert (config.networks.generator_width, config.optimizer.ema_decay) == (8, 0.0)
    sources = {n: config.sources[n] for n in ("seed", "pool_size", "crop_size", "generator_width", "ema_decay")}
    assert sources == {
        "seed": "default",
        "pool_size": "method cut",
        "crop_size": "preset small",
        "generator_width": "init_from",
        "ema_decay": "user",
    }


def test_some_settings_follow_from_others() -> None:
    config = resolved("paper", crop_size=128)
    assert (config.data.load_size, config.sources["load_size"]) == (143, "user, by crop_size")
    assert resolved("paper", crop_size=128, load_size=200).data.load_size == 200
    assert resolved("paper", crop_size=128, preprocess="scale_width_and_crop").data.load_size == 286
    assert resolved("paper", "pix2pix", crop_size=64).networks.generator == "unet_64"
    assert resolved("paper", "pix2pix", crop_size=64, generator="unet_128").networks.generator == "unet_128"
    assert resolved("auto", "cut", blocks=3).loss.nce_layers == (0, 4, 8, 12, 14)


@pytest.mark.parametrize("budget", [{"max_steps": 3}, {"epochs": 100}, {"epochs_decay": 1}])
def test_a_budget_of_the_user_replaces_the_minutes_of_auto(budget: dict[str, int]) -> None:
    assert resolved("auto").run.max_minutes == 60
    assert resolved("auto", **budget).run.max_minutes is None
    assert resolved("auto", max_minutes=3).run.max_minutes == 3


def test_a_short_run_of_cyclegan_on_a_cpu_has_a_generator_and_a_schedule_of_its_own() -> None:
    config = resolved("auto")
    assert config.networks.generator == "space_to_depth"
    assert (config.optimizer.learning_rate, config.optimizer.discriminator_learning_rate) == (2e-3, 4e-4)
    for other in (resolved("auto", "cut"), resolved("auto", generator="resnet"), resolved("auto", "pix2pix")):
        assert (other.optimizer.learning_rate, other.optimizer.discriminator_learning_rate) == (4e-4, None)
    assert resolved("auto", environment=GPU).networks.generator == "resnet_9blocks"


@pytest.mark.parametrize(("image_size", "sizes"), [(17, (32, 32)), (64, (64, 64)), (100, (100, 96)), (256, (143, 128))])
def test_a_short_run_of_cyclegan_on_a_cpu_does_not_enlarge_images(image_size: int, sizes: tuple[int, int]) -> None:
    data = resolved("auto", environment=Environment(image_size, None)).data
    assert (data.load_size, data.crop_size) == sizes


def test_schedules_of_auto_yield_to_those_of_the_user() -> None:
    assert resolved("auto", ema_decay=0.99).optimizer.ema_horizon is None
    assert resolved("auto", epochs=10, epochs_decay=10).optimizer.decay_from is None
    assert resolved("auto", max_steps=10).optimizer.decay_from == 0.2
    assert resolved("auto", generator="attention").loss.lambda_identity == 0


def test_configure_is_auto_and_needs_images(tmp_path: Path) -> None:
    for domain in ("trainA", "trainB"):
        draw_images(tmp_path / "d" / domain, 2, 0, size=64)
    config = configure(data=str(tmp_path / "d"), device="cpu")
    assert config.data.crop_size == 64
    assert config.sources["crop_size"] == "preset auto (no GPU, images of 64 pixels)"
    with pytest.raises(UsageError):
        configure()
    for path in (tmp_path / "d").rglob("*.png"):
        path.write_text("no image")
    with pytest.raises(CycleGANError, match="can be read"):
        configure(data=tmp_path / "d")


def test_a_file_takes_the_place_of_the_preset(tmp_path: Path) -> None:
    from cyclegan.config.toml import to_toml

    first = configure("small", name="first", **{k: v for k, v in TINY.items() if k != "load_size"})
    (tmp_path / "config.toml").write_text(to_toml(first))
    again = configure(config_file=tmp_path, seed=3)
    assert again == first.with_settings(seed=3, name=None)
    assert (again.sources["seed"], again.sources["ema_decay"]) == ("user", "config file")
    assert configure(config_file=tmp_path / "config.toml", crop_size=64).data.load_size == 72


def test_unknown_presets_methods_and_settings_are_named() -> None:
    with pytest.raises(UsageError, match="Unknown preset 'huge'; choose from auto, paper, small, fast"):
        configure("huge")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--method is 'cyclgan'"):
        configure("paper", method="cyclgan")
    with pytest.raises(UsageError, match="Unknown setting 'batchsize'; did you mean batch_size"):
        configure("paper", batchsize=1)


@pytest.mark.parametrize(
    ("smooth", "count", "expected"),
    [(False, 20, "recolor"), (True, 20, "space_to_depth"), (False, 9, "space_to_depth")],
)
def test_auto_recolors_where_enough_images_show_that_the_domains_are_close(
    smooth: bool, count: int, expected: str, tmp_path: Path
) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    draw_images(tmp_path / "d" / "trainA", 20, 0, size=32)
    draw_images(tmp_path / "d" / "trainB", count, 0, size=32)
    for number, file in enumerate((tmp_path / "d" / "trainB").iterdir()):
        if smooth:
            Image.linear_gradient("L").rotate(18 * number).resize((32, 32)).save(file)
    config = configure(data=tmp_path / "d", device="cpu")
    assert config.networks.generator == expected
    assert config.sources["generator"].endswith("close domains)") == (expected == "recolor")
