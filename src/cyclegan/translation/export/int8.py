"""Convolutions in 8 bit integers, with ranges measured on images, by ONNX Runtime's own quantization."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from cyclegan.translation.exported import INPUT, library


def quantize(path: Path, images: Sequence[Tensor]) -> None:
    """Turn an ONNX file's convolutions into 8 bit ones, in place; `images` (1, C, H, W) tell the range of values.

    Weights are scaled by output channel, values by layer. Norms, transposed convolutions and the last convolution,
    whose rounding would be seen, stay in single precision.
    """
    quantization = library("onnxruntime.quantization")
    graph = library("onnx").load(path)
    last = [node.name for node in graph.graph.node if node.op_type == "Conv"][-1]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.images: Iterator[Tensor] = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.images, None)
            return None if image is None else {INPUT: image.numpy()}

    speaker, level = logging.getLogger(), logging.getLogger().level
    speaker.setLevel(logging.ERROR)  # it advises on the root's channel
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantization.quantize_static(
                path,
                path.with_suffix(".int8"),
                Reader(),
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=[last],
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
    finally:
        speaker.setLevel(level)
    path.with_suffix(".int8").replace(path)
