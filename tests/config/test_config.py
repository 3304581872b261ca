"""Settings: presets, the file, and what is said of settings that cannot be."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclegan.config.presets import PRESETS
from cyclegan.config.schema import Config
from cyclegan.config.toml import from_toml, to_toml
from cyclegan.errors import UsageError
from cyclegan.methods.registry import method_names, validate_method
from cyclegan.training.setup import Environment, automatic, configure


def test_the_paper_preset_is_the_reference_to_the_letter() -> None:
    config = configure("paper")
    expected = {
        "load_size": 286, "crop_size": 256, "preprocess": "resize_and_crop", "flip": True, "batch_size": 1,
        "serial_batches": False, "generator": "resnet_9blocks", "generator_width": 64, "discriminator": "basic",
        "discriminator_width": 64, "norm": "instance", "dropout": False, "init": "normal", "init_gain": 0.02,
        "objective": "lsgan", "lambda_a": 10, "lambda_b": 10, "lambda_identity": 0.5, "pool_size": 50,
        "learning_rate": 2e-4, "beta1": 0.5, "beta2": 0.999, "schedule": "linear", "epochs": 100,
        "epochs_decay": 100, "ema_decay": 0, "accumulate": 1, "clip_norm": None,
    }  # fmt: skip
    values = {k: v for section in vars(config).values() for k, v in vars(section).items()}
    assert {name: values[name] for name in expected} == expected


def test_names_of_settings_are_unique_over_all_sections() -> None:
    """They share one command line."""
    names = [name for section in vars(Config()).values() for name in vars(section)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_consistent_and_survive_the_file(preset: Any, tmp_path: Path) -> None:
    config = configure(preset, data=tmp_path / "a folder", max_minutes=2.5)
    (tmp_path / "config.toml").write_text(to_toml(config))
    assert from_toml(tmp_path / "config.toml") == config


@given(
    st.integers(1, 64), st.floats(1e-9, 1e3), st.booleans(), st.none() | st.integers(1, 10**9), st.sampled_from("ab")
)
def test_the_file_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, width: int, rate: float, flip: bool, steps: int | None, name: str
) -> None:
    config = configure(generator_width=width, learning_rate=rate, flip=flip, max_steps=steps, name=name)
    file = tmp_path_factory.mktemp("config") / "config.toml"
    file.write_text(to_toml(config))
    assert from_toml(file) == config


def test_every_setting_in_the_file_stands_under_its_meaning() -> None:
    lines = to_toml(Config()).splitlines()
    for number, line in enumerate(lines):
        if " =" in line:
            assert lines[number - 1].startswith("# ")
    assert sum(" =" in line for line in lines) == sum(len(vars(section)) for section in vars(Config()).values())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"crop_size": 300, "load_size": 286}, "--crop-size 300 is larger than --load-size 286"),
        ({"batch_size": 0}, "--batch-size is 0; it must be at least 1"),
        ({"learning_rate": -1.0}, "--learning-rate is -1.0; it must be more than 0"),
        ({"learning_rate": float("nan")}, "--learning-rate is nan"),
        ({"beta1": 1.0}, "--beta1 is 1.0; it must be at least 0 and less than 1"),
        ({"channels_b": 0}, "--channels-b is 0; it must be at least 1"),
        (
            {"method": "cut", "channels_b": 1},
            "--method cut compares .* set --channels-a and --channels-b to the same number",
        ),
        ({"range_a": "5 5"}, "--range-a is '5 5'; it must be two rising numbers"),
        ({"range_b": "1% 99"}, "--range-b is '1% 99'; it must be"),
        ({"range_b": "-1% 50%"}, "--range-b"),
        ({"background": "#12345"}, "--background is '#12345'; it must be white, black or a color"),
        ({"epochs": 0, "epochs_decay": 0}, "nothing to train"),
        ({"a": "x"}, "--a needs --b: one folder"),
        ({"data": "x", "a": "y", "b": "z"}, "not both"),
        ({"name": "../up"}, "must be a plain folder name"),
        ({"objective": "wgangp", "preprocess": "none"}, "wgangp"),
        ({"generator": "resnet_5"}, "must be one of resnet_9blocks"),
        ({"batch_size": "many"}, "not of the right kind .whole number"),
        ({"batch_size": 1.5}, "not of the right kind"),
        ({"flip": 1}, "--flip is 1, which is not of the right kind"),
        ({"batchsize": 1}, "no setting named batchsize"),
    ],
)
def test_what_cannot_be_is_named_in_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as error:
        configure("paper", **settings)
    assert "\n" not in str(error.value)


def test_unknown_presets_sections_and_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no preset named 'huge'; there are paper, small, fast"):
        configure("huge")  # type: ignore[arg-type]
    file = tmp_path / "config.toml"
    for text, sentence in {
        "[nets]": r"config.toml: there is no section \[nets\]",
        "[data]\nfolder = 'x'": "there is no setting named folder",
        "[data]\nbatch_size = 0": "config.toml: --batch-size is 0",
        "[data\n": "cannot be read as TOML",
        "batch_size = 3": "no section",
    }.items():
        file.write_text(text)
        with pytest.raises(UsageError, match=sentence):
            from_toml(file)
    with pytest.raises(UsageError, match="does not exist"):
        from_toml(tmp_path / "gone.toml")


@pytest.mark.parametrize("image_size", [17, 64, 100, 128, 256, 1000])
@pytest.mark.parametrize("memory", [None, 4.0, 24.0])
@pytest.mark.parametrize("method", method_names())
def test_auto_chooses_what_can_be_trained_and_says_why(image_size: int, memory: float | None, method: Any) -> None:
    settings, why = automatic(Environment(image_size, memory), method)
    config = validate_method(Config().with_settings(**settings))
    assert f"{image_size} pixels" in why
    assert config.data.crop_size <= max(32, image_size)
    assert (config.run.max_minutes is None) == (memory is not None)
