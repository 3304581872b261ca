"""Option names of the authors' PyTorch repositories, and what replaces them here."""

import re
from collections.abc import Sequence

from cyclegan.system.text import listed, quote

PAGE = "https://cyclegan.github.io/cyclegan/coming-from-pytorch-cyclegan/"
REPLACED = {  # replacement -> their names
    "DATA, the first argument, or INPUT of `cyclegan translate`": "dataroot",
    "--method for training; `cyclegan translate` for --model test": "model",
    "--runs": "checkpoints_dir",
    "--devices for their number, --device cpu for -1": "gpu_ids",
    "--channels-a": "input_nc",
    "--channels-b": "output_nc",
    "--generator": "netG",
    "--generator-width": "ngf",
    "--discriminator": "netD",
    "--discriminator-layers": "n_layers_D",
    "--discriminator-width": "ndf",
    "--init": "init_type",
    "not needed, since the method implies the kind of data": "dataset_mode",
    "not needed, since config.toml and the report show the networks": "verbose",
    "not needed, since numbered checkpoints have the step in their names": "save_by_iter",
    "--workers": "num_threads nThreads",
    "--batch-size": "batchSize",
    "--load-size": "loadSize",
    "--crop-size": "fineSize",
    "--max-images": "max_dataset_size",
    "--preprocess": "resize_or_crop",
    "the checkpoint's folder in place of the run's": "epoch load_iter which_epoch",
    "--direction": "which_direction",
    "the full --name": "suffix",
    "--epochs": "n_epochs niter",
    "--epochs-decay": "n_epochs_decay niter_decay",
    "--learning-rate": "lr",
    "--schedule": "lr_policy",
    "--step-epochs": "lr_decay_iters",
    "--objective": "gan_mode",
    "--objective vanilla": "no_lsgan",
    "`cyclegan resume RUN`": "continue_train",
    "`cyclegan resume RUN`, which knows the epoch": "epoch_count",
    "--save-minutes": "save_latest_freq",
    "--checkpoint-epochs": "save_epoch_freq",
    "--log-every": "print_freq",
    "--sample-every": "display_freq update_html_freq",
    "--logger visdom=http://localhost:8097": "display_server display_port",
    "not needed, since Visdom is off by default": "display_id display_ncols display_env display_winsize",
    "--logger wandb=PROJECT": "use_wandb wandb_project_name",
    "not needed, since writing the report costs little": "no_html",
    "not needed, since folder names tell training from test images": "phase",
    "--lambda-a": "lambda_A",
    "--lambda-b": "lambda_B",
    "--lambda-l1": "lambda_L1",
    "--method cut or --method fastcut": "CUT_mode",
    "--lambda-gan": "lambda_GAN",
    "--lambda-nce": "lambda_NCE",
    "--nce-identity": "nce_idt",
    "--nce-temperature": "nce_T",
    "--no-antialias": "no_antialias no_antialias_up",
    "--norm": "normG normD",
    "--init-from": "pretrained_name",
    "-o": "results_dir",
    "the images given as INPUT": "num_test",
}
OPTIONS = {name: replacement for replacement, names in REPLACED.items() for name in names.split()}


def reference_options(command: str, words: Sequence[str]) -> str | None:
    """A sentence about the options of the authors' repositories among `words`; None if there are none.

    Where each has one equivalent, the sentence gives the whole command.
    """
    groups = _options(words)
    theirs = [option for option, _ in groups if option.removeprefix("--") in OPTIONS]
    if not theirs:
        return None
    options = "is an option" if len(theirs) == 1 else "are options"
    subject = f"{listed(theirs)} {options} of the authors' repository ({PAGE} lists all)"
    translated = [_translate(option, values) for option, values in groups]
    if command == "train" and all(each is not None for each in translated):
        data = [word for option, values in groups if option in ("", "--dataroot") for word in values]
        pasted = "--model" in theirs and "--preset" not in words and "--config" not in words
        rest = [word for each in translated for word in each or ()]
        line = quote("cyclegan", "train", *data, *(["--preset", "paper"] if pasted else []), *rest)
        return f"{subject}; here, the command is: {line}"
    advice = (f"{option} is {OPTIONS[option.removeprefix('--')]}" for option in theirs)
    return f"{subject}; here, {', '.join(advice)}."


def _options(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each option with its values; words before the first option belong to ""."""
    groups: list[tuple[str, list[str]]] = [("", [])]
    for word in words:
        if re.match(r"-+[a-zA-Z]", word):
            option, *value = word.split("=", 1)
            groups.append((option, value))
        else:
            groups[-1][1].append(word)
    return groups


def _translate(option: str, values: list[str]) -> list[str] | None:
    """Words that replace an option; None if that takes more than words."""
    match option, values:
        case ("", _) | ("--dataroot", _) | ("--gpu_ids", ["0"]):
            return []
        case "--model", ["cycle_gan"]:
            return ["--method", "cyclegan"]
        case ("--model", ["pix2pix" | "colorization" | "cut" as method]) | ("--CUT_mode", [method]):
            return ["--method", method.lower()]
        case "--gpu_ids", [ids]:
            return ["--device", "cpu"] if ids == "-1" else ["--devices", str(len(ids.split(",")))]
    advice = OPTIONS.get(option.removeprefix("--"))
    if advice is None:
        return [option, *values]
    if advice.startswith("not needed"):
        return []
    if re.fullmatch(r"--[a-z0-9-]+", advice):
        switch = {"True": advice, "False": advice.replace("--", "--no-", 1)}.get("".join(values))
        return [switch] if switch else [advice, *values]
    return advice.split() if re.fullmatch(r"--[a-z-]+ [a-z]+", advice) and not values else None
