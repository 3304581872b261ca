"""Settings: the schema, the file, and one sentence for each invalid setting."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclegan.config.presets import PRESETS
from cyclegan.config.schema import SECTIONS, Config
from cyclegan.config.toml import from_toml, to_toml
from cyclegan.errors import UsageError
from cyclegan.training.setup import configure


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
    values = config.flat()
    assert {name: values[name] for name in expected} == expected


def test_names_of_settings_are_unique_over_all_sections() -> None:
    """They share one command line."""
    assert len(Config().flat()) == sum(len(fields(section)) for section in SECTIONS.values())


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
    config = configure("paper", generator_width=width, learning_rate=rate, flip=flip, max_steps=steps, name=name)
    file = tmp_path_factory.mktemp("config") / "config.toml"
    file.write_text(to_toml(config))
    assert from_toml(file) == config


def test_the_file_keeps_the_source_of_each_value(tmp_path: Path) -> None:
    config = configure("small", method="cut", max_minutes=2.5, runs=tmp_path / "# from x")
    text = to_toml(config)
    assert "crop_size = 128  # from preset small" in text
    assert "max_minutes = 2.5  # from user" in text
    assert "# max_steps =  # from default" in text
    (tmp_path / "config.toml").write_text(text)
    assert from_toml(tmp_path / "config.toml").sources == config.sources


def test_every_setting_in_the_file_stands_under_its_meaning() -> None:
    lines = to_toml(Config()).splitlines()
    for number, line in enumerate(lines):
        if " =" in line:
            assert lines[number - 1].startswith("# ")
    assert sum(" =" in line for line in lines) == len(Config().flat())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"crop_size": 300, "load_size": 286}, "--crop-size 300 is larger than --load-size 286"),
        ({"batch_size": -1}, "--batch-size is -1; it must be greater than or equal to 0"),
        ({"learning_rate": -1.0}, "--learning-rate is -1.0; it must be greater than 0"),
        ({"learning_rate": float("nan")}, "--learning-rate is nan"),
        ({"beta1": 1.0}, "--beta1 is 1.0; it must be less than 1"),
        ({"channels_b": 0}, "--channels-b is 0; it must be greater than or equal to 1"),
        (
            {"method": "cut", "channels_b": 1},
            "--method cut compares .* set --channels-a and --channels-b to the same number",
        ),
        ({"range_a": "5 5"}, "--range-a is '5 5'; it must be two increasing numbers"),
        ({"range_b": "1% 99"}, "--range-b is '1% 99'; it must be"),
        ({"range_b": "-1% 50%"}, "--range-b"),
        ({"background": "#12345"}, "--background is '#12345'; it must be white, black or a color"),
        ({"epochs": 0, "epochs_decay": 0}, "nothing to train"),
        ({"a": "x"}, "--a needs --b: one folder"),
        ({"data": "x", "a": "y", "b": "z"}, "not both"),
        ({"name": "../up"}, "must be a plain folder name"),
        ({"objective": "wgangp", "preprocess": "none"}, "wgangp"),
        ({"generator": "resnet_5"}, "it must be one of resnet_9blocks, resnet_6blocks"),
        ({"batch_size": "many"}, "--batch-size is 'many'; it must be a valid integer"),
        ({"batch_size": 1.5}, "--batch-size is 1.5; it must be a valid integer"),
        ({"augment_policy": ("hue",)}, "it must be 'color', 'translation' or 'cutout'"),
        ({"nce_layers": (4, 0)}, "--nce-layers needs numbers in ascending order"),
        ({"flip": 1}, "--flip is 1; it must be a valid boolean"),
        ({"batchsize": 1}, "Unknown setting 'batchsize'; did you mean batch_size?"),
    ],
)
def test_what_cannot_be_is_named_in_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as error:
        configure("paper", **settings)
    assert "\n" not in str(error.value)


def test_unknown_sections_and_settings_are_named(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for text, sentence in {
        "[nets]": r"config.toml: unknown section \[nets\]",
        "[data]\nfolder = 'x'": "unknown setting folder",
        "[data]\nbatch_size = -1": "config.toml: --batch-size is -1",
        "[data\n": "cannot be read as TOML",
        "batch_size = 3": "unknown section",
    }.items():
        file.write_text(text)
        with pytest.raises(UsageError, match=sentence):
            from_toml(file)
    with pytest.raises(UsageError, match="does not exist"):
        from_toml(tmp_path / "gone.toml")
