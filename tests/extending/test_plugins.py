"""Methods and generators of another package: one file each, found by their entry points."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from cyclegan import Translator, UsageError, resume, train, write_report
from cyclegan.config.schema import Config, NetworkConfig
from cyclegan.diagnosis.diagnose import diagnose
from cyclegan.errors import CycleGANError
from cyclegan.methods.registry import METHODS, method_spec
from cyclegan.networks.cpu.rewrite import CpuGenerator, rewrite_for_cpu
from cyclegan.networks.generator import build_generator
from cyclegan.networks.registry import GENERATORS
from cyclegan.translation.export.export import export

METHOD = '''
"""A method: G: x -> y with an adversarial loss and a distance to the input."""
from cyclegan.methods.losses import l1
from cyclegan.methods.method import Method, RealFake, forward_batched
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import MethodSpec
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import build_generator

SPEC = MethodSpec("near", "Near", __name__, {"AtoB": "G"}, loss_settings=("lambda_a",), input_weights=("lambda_a",))


@register_method(SPEC)
class Near(Method):
    def __init__(self, networks, loss, channels, seed=0):
        super().__init__(networks, loss, channels, seed)
        D = build_discriminator(networks, channels[1])
        self.set_networks({"G": build_generator(networks, *channels)}, {"D": D})

    def generate(self, batch):
        return {"B": self.generators["G"](batch["A"])}

    def generators_loss(self, batch, images):
        fake = images["B"]
        logits = self.discriminators["D"](self.augment("D", fake))
        return {"G_GAN": self.gan.generator(logits), "near": self.settings.lambda_a * l1(fake, batch["A"])}

    def discriminators_loss(self, batch, images):
        D, fake = self.discriminators["D"], images["B"].detach()
        real_logits, fake_logits = forward_batched(D, batch["B"], fake, augment=lambda x: self.augment("D", x))
        return {"D": self.gan.real(real_logits) + self.gan.fake(fake_logits)}

    def discriminator_inputs(self, batch, images):
        return {"AtoB": RealFake("D", batch["B"], images["B"])}
'''
GENERATOR = '''
"""Two generators: one made of stages, and one that can only run on whole images."""
from torch import nn
from cyclegan.networks.generator import Generator
from cyclegan.networks.layers import NORMS, Residual
from cyclegan.networks.registry import register_generator


@register_generator("staged", "Residual network")
class Staged(Generator):
    size_multiple, min_size = 2, 4

    def __init__(self, in_channels, out_channels, *, width, norm, dropout):
        super().__init__()
        down = nn.Conv2d(in_channels, width, 4, stride=2, padding=1), NORMS[norm](width), nn.ReLU(inplace=True)
        body = Residual(nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), NORMS[norm](width))
        up = nn.ConvTranspose2d(width, out_channels, 3, stride=2, padding=1, output_padding=1), nn.Tanh()
        self.parts = nn.ModuleList([nn.Sequential(*down), body, nn.Sequential(*up)])

    def stages(self):
        return list(self.parts)


@register_generator("whole", "Pointwise network, width {generator_width}")
class Whole(Generator):
    def __init__(self, in_channels, out_channels, *, width, norm, dropout):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.GELU(), nn.Conv2d(width, out_channels, 1))

    def forward(self, x):
        return self.body(x).tanh()
'''
ENTRY_POINTS = """
[cyclegan.methods]
near = their_method
broken = their_missing_module

[cyclegan.generators]
staged = their_generators:Staged
whole = their_generators
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another package, as if installed."""
    site = tmp_path / "site"
    (site / "theirs-1.0.dist-info").mkdir(parents=True)
    (site / "theirs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (site / "theirs-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    (site / "their_method.py").write_text(METHOD)
    (site / "their_generators.py").write_text(GENERATOR)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    importlib.invalidate_caches()
    yield
    for name in ("their_method", "their_generators"):
        sys.modules.pop(name, None)


@pytest.mark.processes
def test_names_are_listed_without_importing_the_other_package_or_torch(plugins: None) -> None:
    assert {"cyclegan", "near", "broken"} <= set(METHODS.names())
    assert {"resnet_9blocks", "staged", "whole"} <= set(GENERATORS.names())
    script = (
        "import sys; from cyclegan.methods.registry import METHODS, method_spec\n"
        "from cyclegan.networks.registry import GENERATORS\n"
        "print(METHODS.names(), GENERATORS.names(), method_spec('cut').title)\n"
        "assert not {'torch', 'their_method', 'their_generators'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_unknown_and_broken_names_give_one_sentence(plugins: None, tiny: Callable[..., Config]) -> None:
    with pytest.raises(UsageError, match="--method is 'cut2'; it must be one of cyclegan, "):
        method_spec("cut2")
    with pytest.raises(CycleGANError, match=r"broken of cyclegan\.methods cannot be loaded from their_missing_module"):
        method_spec("broken")
    with pytest.raises(UsageError, match="--generator is 'huge'; it must be one of resnet_9blocks, "):
        tiny(generator="huge")


@pytest.mark.parametrize("generator", ["staged", "whole"])
def test_a_run_with_a_method_and_a_generator_from_outside(
    generator: str, plugins: None, tiny: Callable[..., Config], data: Path
) -> None:
    run = train(tiny(method="near", generator=generator, max_steps=2, augment="diffaugment"))
    run = resume(run, max_steps=4)
    columns = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"G_GAN", "near", "D"} <= set(columns)
    translator = Translator.load(run, device="cpu")
    assert translator.translate(torch.rand(3, 33, 50) * 2 - 1).shape == (3, 33, 50)
    assert diagnose(run).issues is not None
    report = export(run, "torch-export", fixed_size=(32, 32), out=run.parent / "near.pt2")
    assert report.psnr > 80
    page = write_report(run).path.read_text()
    assert "Near" in page and ("Residual network" if generator == "staged" else "Pointwise network, width 4") in page


def test_a_generator_of_stages_streams_and_is_rewritten_for_cpus(plugins: None) -> None:
    torch.manual_seed(0)
    network = build_generator(NetworkConfig(generator="staged", generator_width=8), 3, 3).eval()
    fast, image = rewrite_for_cpu(network), torch.rand(3, 301, 207) * 2 - 1
    assert isinstance(fast, CpuGenerator)
    with torch.inference_mode():
        expected = network(image[None])[0]
        torch.testing.assert_close(fast(image[None])[0], expected, rtol=0, atol=1e-4)
    streamed = Translator(network, (3, 3))
    streamed.any_size.fits = lambda *_, **__: False  # type: ignore[method-assign]
    torch.testing.assert_close(streamed.translate(image), expected, rtol=0, atol=1e-4)


def test_a_generator_without_stages_cannot_stream_and_says_so(plugins: None) -> None:
    network = build_generator(NetworkConfig(generator="whole", generator_width=8), 3, 3)
    assert rewrite_for_cpu(network) is network
    translator = Translator(network, (3, 3))
    translator.any_size.fits = lambda *_, **__: False  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="Whole has no stages and cannot be streamed"):
        translator.translate(torch.zeros(3, 20, 20))
