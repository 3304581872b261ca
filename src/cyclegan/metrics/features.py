"""Pretrained feature networks for image metrics; each needs an optional extra."""

import pickle
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cyclegan.errors import CycleGANError, UsageError, first_line
from cyclegan.system.optional import efficientnet_packages, is_installed, optional_import

Features = Callable[[Tensor], Tensor]  # images (N, 3, H, W) in [-1, 1] to features (N, D)

BATCH = 16  # images per forward pass
EFFICIENTNET_SIDE = 112  # pixels; half of the training resolution, for a quarter of the time
# EfficientNet-Lite's input normalization: (value from 0 to 255 - 127) / 128.
_LEVELS, _MEAN, _STD = 127.5, 127.0, 128.0


def extract_features(network: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """The network's outputs for one or more sets of images (N, C, H, W) in [-1, 1], in batches.

    Images without three channels are converted to gray.
    """
    rgb = (each if each.shape[1] == 3 else each.mean(1, keepdim=True).expand(-1, 3, -1, -1) for each in images)
    with torch.inference_mode():
        batches = zip(*(torch.split(each, BATCH) for each in rgb), strict=True)
        return torch.cat([network(*batch) for batch in batches]).clone()


def efficientnet(number: int) -> Any:
    """EfficientNet-Lite0 or 1 trained on ImageNet, in eval mode. Raises `UsageError` when it is not installed."""
    library, weights = (optional_import(name, "features") for name in efficientnet_packages(number))
    file = getattr(weights, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    with torch.device("cpu"):  # also where other networks are built on the meta device, without values
        network = library.EfficientNet.from_name(f"efficientnet-lite{number}")
    network.load_state_dict(_read_weights(Path(file)))
    return network.eval()


def load_efficientnet() -> Features | None:
    """The 1280 features of EfficientNet-Lite0 trained on ImageNet; None when it is not installed."""
    if not is_installed(*efficientnet_packages(0)):
        return None
    network = efficientnet(0)

    def features(images: Tensor) -> Tensor:
        size = (EFFICIENTNET_SIDE, EFFICIENTNET_SIDE)
        resized = interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
        found: Tensor = network.extract_features(((resized + 1) * _LEVELS - _MEAN) / _STD).mean((2, 3))
        return found

    return features


def load_inception(weights: Path | None) -> Features:
    """The 2048 features used by FID and KID, from torch-fidelity's Inception.

    `weights` is the file ``weights-inception-2015-12-05-6726825d.pth``; None downloads it once to torch's cache.
    Raises `UsageError` when torch-fidelity or the file is missing, `CycleGANError` when the file is not usable or
    cannot be downloaded.
    """
    try:
        from torch_fidelity import feature_extractor_inceptionv3 as fidelity
    except ImportError as error:
        raise UsageError(
            f"FID and KID need torch-fidelity, which cannot be imported ({error}); install it with: "
            'pip install "cyclegan[metrics]".'
        ) from None
    state = _read_weights(weights) if weights is not None else _download_weights(fidelity.URL_INCEPTION_V3)
    with tempfile.TemporaryDirectory() as folder:  # torch-fidelity unpickles any file; this one has only tensors
        file = Path(folder) / "inception.pth"
        torch.save(state, file)
        try:
            network = fidelity.FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file)
            ).eval()
        except (RuntimeError, TypeError, AttributeError) as error:
            raise CycleGANError(f"The weights do not fit torch-fidelity's Inception: {first_line(error)}.") from None

    def features(images: Tensor) -> Tensor:
        found: Tensor = network(((images.clamp(-1, 1) + 1) * _LEVELS).round().byte())[0]
        return found

    return features


def _download_weights(url: str) -> dict[str, Tensor]:
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        reason = f"could not be downloaded from {url} ({first_line(error)})"
        raise CycleGANError(f"The Inception weights {reason}; pass the file with --inception FILE.") from None


def _read_weights(file: Path) -> dict[str, Tensor]:
    """A state dict; anything in the file other than tensors is refused, not unpickled."""
    if not file.is_file():
        raise UsageError(f"{file} does not exist; --inception expects torch-fidelity's weights file.")
    try:
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        raise CycleGANError(f"{file} is not a weights file: it is damaged or contains more than tensors.") from None
    return state


def load_lpips() -> Callable[[Tensor, Tensor], Tensor] | None:
    """LPIPS with AlexNet (Zhang et al. 2018): distances (N) of images (N, C, H, W) and (N, C, H, W), 0 when equal.

    None when it is not installed. Downloads AlexNet once. Raises `CycleGANError` when the network cannot be built.
    """
    if find_spec("lpips") is None:
        return None
    try:
        from lpips import LPIPS

        network = LPIPS(net="alex", verbose=False).eval()
    except (ImportError, OSError, RuntimeError) as error:
        raise CycleGANError(f"LPIPS could not be loaded ({first_line(error)}).") from None
    return lambda a, b: extract_features(network, a, b).flatten()
