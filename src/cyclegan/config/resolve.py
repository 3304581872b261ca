"""Resolve settings from all sources in one order: paper < method < preset < initial model < user."""

from collections.abc import Callable
from typing import Any, Protocol

from cyclegan.config.presets import PRESETS, Environment, auto_settings, sizes
from cyclegan.config.schema import Config
from cyclegan.errors import UsageError

Settings = dict[str, Any]

# Settings of `auto` that say the same as others which the user may give.
SUPERSEDED_BY = {
    "max_minutes": {"max_steps", "epochs", "epochs_decay"},
    "decay_from": {"epochs", "epochs_decay"},
    "ema_horizon": {"ema_decay"},
}


class MethodSettings(Protocol):
    """What `resolve` needs to know of a method; see `cyclegan.methods.specs.MethodSpec`."""

    @property
    def name(self) -> str:
        """Value of --method."""

    @property
    def defaults(self) -> Settings:
        """Settings in which its paper differs from CycleGAN's."""

    @property
    def generator_for_crop(self) -> Callable[[int], str] | None:
        """Architecture by crop size, if the method asks for one."""

    @property
    def short_run_generator(self) -> str:
        """Architecture for a short run on a CPU."""

    @property
    def short_run_settings(self) -> Callable[[Settings], Settings]:
        """Changes for a short run on a CPU."""


def resolve(
    preset: str,
    method: MethodSettings,
    user: Settings,
    *,
    environment: Environment | None = None,
    initial_model: Settings | None = None,
    file: Settings | None = None,
) -> Config:
    """The configuration, with the source of each value in `Config.sources`; it is not validated.

    `environment` is needed for the preset `auto`. `initial_model` holds the architecture of the model at `init_from`.
    `file` holds the settings of a configuration file, which then stand in place of the preset's. Some
    settings follow from others where only those were given: the U-Net from the crop size, the load size from the user's
    crop size, and those of `SUPERSEDED_BY`. Raises `UsageError` for an unknown preset or setting.
    """
    if preset not in ("auto", *PRESETS):
        raise UsageError(f"Unknown preset {preset!r}; choose from auto, {', '.join(PRESETS)}.")
    given = (initial_model or {}) | user
    settings, name = PRESETS.get(preset, {}), f"preset {preset}"
    if file is not None:
        settings, name = file, "config file"
    elif preset == "auto":
        if environment is None:
            raise UsageError("The preset 'auto' needs data to choose by; give data, or choose another preset.")
        generator = given.get("generator", method.short_run_generator)
        settings, name = auto_settings(environment, generator), f"preset auto ({environment})"
        settings = {n: v for n, v in settings.items() if not user.keys() & SUPERSEDED_BY.get(n, set())}
        if environment.gpu_memory is None:
            settings |= method.short_run_settings(method.defaults | settings | given)

    values: Settings = {"method": method.name}
    sources: dict[str, str] = {}
    layers = [
        (f"method {method.name}", method.defaults),
        (name, settings),
        ("init_from", initial_model or {}),
        ("user", user),
    ]
    for source, layer in layers:
        values |= layer
        sources |= dict.fromkeys(layer, source)
    if method.generator_for_crop is not None and "generator" not in given and file is None:
        values["generator"] = method.generator_for_crop(values.get("crop_size", 256))
        sources["generator"] = f"method {method.name}, by crop_size"
    if "crop_size" in user and "load_size" not in user:
        config = Config().with_settings(**values)
        if config.data.preprocess == "resize_and_crop":
            values |= sizes(config.data.crop_size)
            sources["load_size"] = "user, by crop_size"
    return Config(sources=dict.fromkeys(Config().flat(), "default") | sources).with_settings(**values)
