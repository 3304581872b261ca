"""The tab Train: data, its check, a new run, and runs that train, are stopped and resumed."""

import html
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from cyclegan.config.schema import Config
from cyclegan.data.check.check import Check, check_data, contact_sheet
from cyclegan.data.check.inspect import ImageStats
from cyclegan.data.get.seasons import write_seasons
from cyclegan.errors import UsageError
from cyclegan.training.setup import configure
from cyclegan.web.app.processes import Processes
from cyclegan.web.app.widgets import guarded, note
from cyclegan.web.state import find_runs, summarize_run

BUILT_IN = Path("data") / "seasons"
TWO, ONE, SEASONS = "Two folders", "One folder with trainA and trainB", "The built-in set: summer and winter"
POLL_SECONDS = 2.0


def build_train_tab(folders: Sequence[Path], runs: Path) -> gr.Dropdown:
    """The tab's contents, inside a Blocks context; new runs are created in `runs`.

    Returns its dropdown of runs, which the page keeps up to date.
    """
    processes = Processes()
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            gr.HTML("<h2>A new run</h2>")
            kind = gr.Radio([TWO, ONE, SEASONS], value=TWO, label="Data", elem_id="train-kind")
            a = gr.Textbox(label="Folder A", info="Images of the first kind, on this machine.", elem_id="train-a")
            b = gr.Textbox(label="Folder B", info="Images of the second kind.", elem_id="train-b")
            minutes = gr.Number(
                label="Budget", value=60, minimum=0.1, info="Minutes of training.", elem_id="train-minutes"
            )
            name = gr.Textbox(label="Name", info="Empty: named after the data.", elem_id="train-name")
            preset = gr.Dropdown(
                ["auto", "paper", "small", "fast"],
                value="auto",
                label="Preset",
                info="auto suits the images and the GPU or CPU.",
            )
            with gr.Row():
                check = gr.Button("Check the data", elem_id="train-check")
                start = gr.Button("Start", variant="primary", elem_id="train-start")
            message = gr.HTML(elem_id="train-message")
        with gr.Column(scale=7, min_width=320):
            findings = gr.HTML(elem_id="train-findings")
            sheet = gr.Image(
                label="Contact sheet",
                show_label=False,
                format="png",
                visible=False,
                interactive=False,
                buttons=["fullscreen"],
                elem_id="train-sheet",
            )
    gr.HTML("<h2>Runs</h2>")
    with gr.Row(equal_height=True):
        run = gr.Dropdown(label="Run", scale=4, min_width=220, elem_id="train-run")
        more = gr.Number(label="New budget to resume", info="Minutes from the run's beginning. 0: as before.", scale=3)
    with gr.Row():
        resume = gr.Button("Resume", elem_id="train-resume")
        stop = gr.Button("Stop and save", elem_id="train-stop")
    problem = gr.HTML()
    state = gr.HTML(elem_id="train-state")
    live = gr.HTML(elem_id="live")

    def all_runs() -> dict[str, Path]:
        return find_runs(folders)

    def settings_of(kind: str, a: str, b: str, minutes: float | None, name: str) -> dict[str, Any]:
        """The settings that the fields stand for. Raises `UsageError` for a field that is missing."""
        settings: dict[str, Any] = {"runs": runs}
        if kind == SEASONS:
            if not BUILT_IN.exists():
                write_seasons(BUILT_IN)
            settings["data"] = BUILT_IN
        elif not a or (kind == TWO and not b):
            raise UsageError("Type the folder of the data first." if kind == ONE else "Type both folders first.")
        else:
            paths = {"a": a, "b": b} if kind == TWO else {"data": a}
            settings |= {key: Path(value.strip()).expanduser() for key, value in paths.items()}
        settings |= {"max_minutes": float(minutes)} if minutes else {}
        return settings | ({"name": name.strip()} if name.strip() else {})

    def show_fields(kind: str) -> Any:
        return gr.update(visible=kind != SEASONS, label="Folder A" if kind == TWO else "Folder"), gr.update(
            visible=kind == TWO
        )

    @guarded(lambda text: (text, gr.update(visible=False), ""))
    def check_now(kind: str, a: str, b: str, minutes: float | None, preset: str, progress: Any = gr.Progress()) -> Any:  # noqa: B008
        def track(stats: Iterator[ImageStats], total: int) -> Iterable[ImageStats]:
            return progress.tqdm(stats, total=total, desc="Inspecting", unit="images")

        settings = settings_of(kind, a, b, minutes, "")
        try:
            config = configure(preset, compare_domains=False, **settings)  # type: ignore[arg-type]
        except UsageError:
            config = Config().with_settings(**settings)  # no image can be read, which the check reports
        result = check_data(config, track=track, workers=0)
        return describe_check(result), gr.update(value=contact_sheet(result.parts), visible=True), ""

    @guarded(lambda text: (text, gr.skip()))
    def start_now(kind: str, a: str, b: str, minutes: float | None, name: str, preset: str) -> Any:
        folder = processes.start(preset, settings_of(kind, a, b, minutes, name))  # type: ignore[arg-type]
        found = all_runs()
        chosen = next(name for name, path in found.items() if path == folder.resolve())
        text = f"Started {folder}. Closing this page does not stop it."
        return note(text), gr.Dropdown(choices=list(found), value=chosen)

    def chosen_run(name: str | None) -> Path:
        folder = all_runs().get(name or "")
        if folder is None:
            raise UsageError(f"The run {name} is no longer there." if name else "There is no run yet; start one above.")
        return folder

    @guarded(lambda text: (text, gr.skip()))
    def resume_now(name: str | None, minutes: float | None) -> Any:
        processes.resume(chosen_run(name), minutes)
        return "", describe_state(name)

    @guarded(lambda text: (text, gr.skip()))
    def stop_now(name: str | None) -> Any:
        processes.stop(chosen_run(name))
        return "", note("Stopping: the run is saved first.")

    def describe_state(name: str | None) -> str:
        folder = all_runs().get(name or "")
        if folder is None:
            return note("No run is chosen.")
        if failure := processes.problem(folder):
            return note(failure, "alert")
        found = summarize_run(str(name), folder)
        if "problem" in found:
            return note(found["problem"], "alert")
        return note(f"{name}: {found['state']}, {100 * found['progress']:.0f} % of its budget, step {found['step']:,}.")

    def show_live(name: str | None) -> str:
        if not name:
            return ""
        # The name is in the query too: an address that differs in its fragment only would not be loaded.
        return f'<iframe title="Live view of {html.escape(name)}" src="live/?{quote(name)}#run={quote(name)}"></iframe>'

    fields = [kind, a, b, minutes, name, preset]
    kind.change(show_fields, kind, [a, b], show_progress="hidden")
    check.click(
        check_now,
        [kind, a, b, minutes, preset],
        [findings, sheet, message],
        concurrency_id="check",
        show_progress_on=[findings],
    )
    start.click(start_now, fields, [message, run], concurrency_id="start", show_progress_on=[message])
    resume.click(resume_now, [run, more], [problem, state], concurrency_id="start", show_progress_on=[state])
    stop.click(stop_now, run, [problem, state], show_progress="hidden")
    run.change(show_live, run, live, show_progress="hidden")
    run.change(lambda name: ("", describe_state(name)), run, [problem, state], show_progress="hidden")
    gr.Timer(POLL_SECONDS).tick(describe_state, run, state, show_progress="hidden", queue=False)
    return run


def describe_check(check: Check) -> str:
    """The findings and the forecast of a check as HTML."""
    items = "".join(
        f'<li class="{each.level}"><b>{each.level}</b> {html.escape(f"{each.text} {each.advice}".strip())}</li>'
        for each in check.findings
    )
    found = f"<ul>{items}</ul>" if items else "<p>No problems were found.</p>"
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in check.forecast)
    command = f"<pre>{html.escape(check.command)}</pre>"
    return f'<div class="check" role="status"><h2>The data</h2>{found}{lines}{command}</div>'
