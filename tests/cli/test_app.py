"""Parsing: what the user gave, help pages, and suggestions; in this process."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import TINY, flags
from cyclegan import UsageError
from cyclegan.cli import reference_options
from cyclegan.cli import settings as options
from cyclegan.cli.app import COMMANDS, GROUPS, option_names
from cyclegan.cli.main import run
from cyclegan.config.schema import Config
from cyclegan.data.get.seasons import write_seasons
from cyclegan.training import trainer


@pytest.fixture
def trained_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Config]:
    """The configurations that `train` was called with; nothing is trained."""
    seen: list[Config] = []

    def train(config: Config, **_: Any) -> Path:
        seen.append(config)
        raise UsageError("not trained")

    monkeypatch.setattr(trainer, "train", train)
    return seen


@pytest.fixture
def seasons_folder(tmp_path: Path) -> Path:
    write_seasons(tmp_path / "seasons", size=64, train=2, test=1)
    return tmp_path / "seasons"


def test_only_what_the_user_gives_is_the_users(data: Path, trained_with: list[Config]) -> None:
    with pytest.raises(UsageError, match="not trained"):
        run(["train", str(data), "--preset", "small", "--no-flip", "--seed", "0", "--nce-layers", "0", "4",
             "--max-steps", "1"])  # fmt: skip
    (config,) = trained_with
    given = {name for name, source in config.sources.items() if source == "user"}
    assert given == {"data", "flip", "seed", "nce_layers", "max_steps"}
    assert (config.data.flip, config.loss.nce_layers, config.data.crop_size) == (False, (0, 4), 128)


def test_underscores_and_equals_signs_are_accepted(data: Path, trained_with: list[Config]) -> None:
    with pytest.raises(UsageError, match="not trained"):
        run(["train", str(data), "--preset=paper", "--batch_size=2", "--max_steps=1"])
    assert trained_with[0].data.batch_size == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian", "data"], "Unknown command 'trian'; did you mean train?"),
        (["data", "gte"], "Unknown command 'data gte'; did you mean data get?"),
        (["frobnicate"], "Unknown command 'frobnicate'. `cyclegan help` lists all."),
        (["train", "x", "--cropsize", "3"], "`cyclegan train` has no option --cropsize; did you mean --crop-size?"),
        (["data", "check", "x", "--seed", "3"], "`cyclegan data check` has no option --seed; `cyclegan train` has it."),
        (["data", "check", "nowhere", "--labels"], "nowhere does not exist"),
        (["train", "x", "y"], "Unexpected argument 'y'; two folders are --a and --b; see `cyclegan train --help`."),
        (["train", "x", "--preset", "smal"], "--preset is 'smal'; it must be one of auto, paper, small, fast; did you"),
        (["train", "x", "--crop-size", "big"], "--crop-size must be an integer, not 'big'."),
        (["train", "x", "--devices", "all"], "--devices must be an integer or auto, not 'all'."),
        (["train", "x", "--lambda-a", "big"], "--lambda-a must be a number, not 'big'."),
        (["train", "x", "--seed"], "--seed needs a value; see `cyclegan train --help`."),
        (["report"], "`cyclegan report` needs RUN; see `cyclegan report --help`."),
        (["translate", "run", "in"], "`cyclegan translate` needs"),
        (["translate", "run", "-o", "x"], "`cyclegan translate` needs INPUT"),
        (["train", "x", "--nce_layers", "0,4,8"], "--nce-layers must be integers, separated by spaces, not '0,4,8'."),
        (["train", "x", "--gpu_ids", "-1"], "the command is: cyclegan train x --device cpu"),
        (
            ["train", "--dataroot", "x", "--model", "cycle_gan", "--gpu_ids", "0,1", "--batchSize", "4", "--no_html"],
            "--dataroot, --model, --gpu_ids, --batchSize and --no_html are options of the authors' repository ("
            "https://cyclegan.github.io/cyclegan/coming-from-pytorch-cyclegan/ lists all); here, the command is: "
            "cyclegan train x --preset paper --method cyclegan --devices 2 --batch-size 4",
        ),
        (
            ["train", "x", "--CUT_mode", "FastCUT", "--nce_idt", "False", "--no_lsgan"],
            "cyclegan train x --method fastcut --no-nce-identity --objective vanilla",
        ),
        (
            ["train", "x", "--lr", "1", "--epoch_count", "81"],
            "--lr is --learning-rate, --epoch_count is `cyclegan",
        ),
        (
            ["translate", "--dataroot", "x"],
            "here, --dataroot is DATA, the first argument, or INPUT",
        ),
        (["evaluate", "--bogus"], "`cyclegan evaluate` needs RUN; see `cyclegan evaluate --help`."),
        (["test", "x"], "Unknown command 'test'; did you mean translate?"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_with_a_suggestion(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        run(words)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.processes
def test_usage_errors_do_not_import_torch() -> None:
    script = (
        "import sys; from cyclegan.cli.main import main\n"
        "sys.argv = ['cyclegan', 'train', 'x', '--lr', '1']\n"
        "try: main()\nfinally: print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout.strip()) == (2, "False")


def test_options_of_the_authors_are_in_the_page_and_lead_to_options_that_exist() -> None:
    page = (Path(__file__).parents[2] / "docs" / f"{Path(reference_options.PAGE).name}.md").read_text(encoding="utf-8")
    exist = {option.replace("--no-", "--") for command in COMMANDS.values() for option in option_names(command)}
    for name, advice in reference_options.OPTIONS.items():
        assert f"`--{name}`" in page or name in ("results_dir", "num_test"), name
        named = [word.strip("`.,;:") for word in advice.split() if word.startswith("--") and word != "--model"]
        assert {word.replace("--no-", "--") for word in named} <= exist, name


def help_page(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        run(list(words))
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", ["80", "100"])
@pytest.mark.parametrize("name", [*COMMANDS, "train --help-all"])
def test_help_fits_the_terminal_and_shows_no_none(
    name: str, columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = help_page(capsys, *name.split(), "--help") if "all" not in name else help_page(capsys, *name.split())
    assert max(map(len, text.splitlines()[1:])) <= int(columns)  # tyro does not wrap the usage
    assert "None" not in text
    assert "(default: )" not in text
    assert "unset by default" not in text
    assert "STR [STR" not in text


def test_help_of_train_has_two_levels(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    short, all_of_it = help_page(capsys, "help", "train"), help_page(capsys, "train", "--help-all")
    assert short == help_page(capsys, "train", "--help")
    assert short.count("│ --") <= 20
    assert "cyclegan train --help-all" in short
    flat = " ".join(all_of_it.replace("│", " ").split())
    assert "(default: chosen by auto; paper, fast 256; small 128)" in flat
    assert "(default: 100; cut, dcl 200; fastcut 150)" in flat
    assert "--no-flip " in flat
    assert "--flip" not in flat.replace("--flip-equivariance", "").replace("--flip-vertical", "")
    for option in option_names(COMMANDS["train"]):
        assert f"--no-{option[2:]} " in flat or option in flat


def test_the_overview_lists_every_command_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    run([])
    text = capsys.readouterr().out
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)
    for name in COMMANDS:
        assert f"\n  {name} " in text
    assert "translate RUN INPUT" in text
    run(["--help"])
    assert capsys.readouterr().out == text
    run(["data"])
    assert "data get NAME" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = help_page(capsys, "completion", shell)
    assert "translate" in script
    assert "import-weights" in script
    assert "learning-rate" in script
    assert "side-by-side" in script


def test_a_run_of_epochs_on_a_cpu_says_first_how_long_it_takes(
    data: Path, trained_with: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(data), "--preset", "paper", *flags(**TINY | {"generator": "resnet_6blocks"})]
    with pytest.raises(UsageError, match="not trained"):
        run(words)
    lines = on_stderr(capsys)
    assert re.search(r"Length: 1,400 steps \(200 epochs\). .* A step takes about .* s, and the run about", lines)
    assert "export-weights" not in lines
    with pytest.raises(UsageError, match="not trained"):
        run([*words, "--max-minutes", "5"])
    assert "A step" not in on_stderr(capsys)


@pytest.mark.parametrize(
    ("words", "length"),
    [
        ([], "60 minutes (--max-minutes) or "),
        (["--max-minutes", "5"], "5 minutes (--max-minutes) or "),
        (["--max-steps", "5"], "5 steps (2.5 epochs)."),
    ],
)
def test_the_start_lines_have_the_budget_that_applies(
    seasons_folder: Path, trained_with: list[Config], capsys: pytest.CaptureFixture[str], words: list[str], length: str
) -> None:
    with pytest.raises(UsageError, match="not trained"):
        run(["train", str(seasons_folder), "--device", "cpu", *words])
    lines = on_stderr(capsys)
    assert f"Length: {length}" in lines
    assert "export-weights` will not work for this run. The authors' code has no 'space_to_depth' networks." in lines


def on_stderr(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed there, without line breaks."""
    return " ".join(capsys.readouterr().err.split())


def test_a_dry_run_trains_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(["train", str(data), "--dry-run", "--preset", "fast", *flags(**TINY), "--batch-size", "2"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["ema_decay", "0.999", "preset", "fast"] in lines
    assert ["batch_size", "2", "user"] in lines
    assert ["pool_size", "50", "default"] in lines
    text = " ".join(word for line in lines for word in line)
    assert "An epoch has 4 steps; training takes 800 steps (200 epochs)." in text
    assert "A step takes about" in text
    assert "The run takes about" in text
    assert "`cyclegan export-weights` cannot write such a run. The authors' code has" in text
    assert list(tmp_path.iterdir()) == []


def test_help_pages_do_not_change_how_later_lines_are_parsed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    help_page(capsys, "train", "--help-all")
    with pytest.raises(UsageError):
        run(["train", str(data), "--lr", "3"])
    assert options.page == "parse"


def test_the_overview_shows_optional_and_repeated_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    run(["help"])
    overview = capsys.readouterr().out
    for usage in ("translate RUN INPUT ...", "evaluate RUN [DATA]", "compare RUN RUN ..."):
        assert f"  {usage} " in overview


@pytest.mark.processes
def test_wrong_command_lines_are_answered_before_torch_is_loaded(data: Path, tmp_path: Path) -> None:
    lines = [
        ["train"],
        ["train", "nothing", "--preset", "paper"],
        ["train", str(data), "--crop-size", "0"],
        ["train", str(data), "--generator", "nothing"],
        ["resume", "nothing"],
        ["distill", "nothing"],
        ["translate", "nothing", str(data), "-o", "out"],
        ["evaluate", "nothing"],
        ["compare", "nothing", "other"],
        ["diagnose", "nothing"],
        ["report", "nothing"],
        ["export", "nothing", "--format", "onnx"],
        ["publish", "nothing", "user/name"],
        ["data", "check", "nothing"],
    ]
    code = (
        "import sys\nfrom cyclegan.cli.main import run\nfrom cyclegan.errors import UsageError\n"
        f"for line in {lines!r}:\n    try: run(line)\n    except UsageError: assert 'torch' not in sys.modules, line\n"
        "    else: raise AssertionError(line)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=60)
