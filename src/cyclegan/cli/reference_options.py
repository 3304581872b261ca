"""Option names of the authors' PyTorch repositories, and what replaces them here."""

PAGE = "docs/coming-from-pytorch-cyclegan.md"
REPLACED = {  # replacement -> their names
    "the first argument, DATA": "dataroot",
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
    "--method, which implies the kind of data": "dataset_mode",
    "--workers": "num_threads nThreads",
    "--batch-size": "batchSize",
    "--load-size": "loadSize",
    "--crop-size": "fineSize",
    "--max-images": "max_dataset_size",
    "--preprocess": "resize_or_crop",
    "the checkpoint's folder in place of the run's": "epoch load_iter which_epoch",
    "--direction": "which_direction",
    "--name": "suffix",
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
    "no option, since Visdom is off by default,": "display_id",
    "--logger wandb=PROJECT": "use_wandb wandb_project_name",
    "no option, since the report is written at the end,": "no_html",
    "no option, since folder names tell training from test images,": "phase",
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


def reference_option(option: str) -> str | None:
    """A sentence about an option of the authors' repositories, such as "--lr"; None for any other."""
    replacement = OPTIONS.get(option.removeprefix("--"))
    if replacement is None:
        return None
    return f"{option} is an option of the authors' repository; use {replacement} here ({PAGE} lists all)."
