"""CycleGAN with a total variation loss, which keeps translations free of noise."""

from dataclasses import replace

from torch import Tensor

from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.methods.method import Batch, Images, Terms
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import CYCLEGAN

WEIGHT = 0.5

SMOOTH = replace(
    CYCLEGAN,
    name="smooth",
    title="Smooth CycleGAN",
    module=__name__,
    subject="a CycleGAN with a total variation loss",
    describe_losses=lambda loss: f"{CYCLEGAN.describe_losses(loss)}, total variation × {WEIGHT:g}",
    term_groups=CYCLEGAN.term_groups | {"Total variation": (("tv_A", "{a} → {b}"), ("tv_B", "{b} → {a}"))},
    reference=None,  # the authors' code has no such method, so weights are not exchanged with it
)


@register_method(SMOOTH)
class SmoothCycleGAN(CycleGAN):
    """CycleGAN's networks and losses, and one more term for each generator."""

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """CycleGAN's terms and the total variation of both translations."""
        own = {
            "tv_A": WEIGHT * total_variation(images["B"]),
            "tv_B": WEIGHT * total_variation(images["A"]),
        }
        return super().generators_loss(batch, images) | own


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference between neighboring pixels of images (N, C, H, W)."""
    return images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()
