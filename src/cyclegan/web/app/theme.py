"""Colors, fonts and styles of the app: those of `cyclegan watch`, with the fonts of the reader's system."""

import gradio as gr

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SF Mono", "Consolas", "monospace")

# name of Gradio's variable: value in light and in dark mode
VARIABLES = {
    "body_background_fill": ("#fbfaf7", "#17181a"),
    "body_text_color": ("#22211e", "#e8e6e1"),
    "body_text_color_subdued": ("#64615a", "#a5a29a"),
    "background_fill_primary": ("#fbfaf7", "#17181a"),
    "background_fill_secondary": ("#f2f0ea", "#212326"),
    "block_background_fill": ("#f2f0ea", "#212326"),
    "block_border_color": ("#dedad0", "#35373b"),
    "block_label_background_fill": ("#f2f0ea", "#212326"),
    "block_label_text_color": ("#64615a", "#a5a29a"),
    "block_title_text_color": ("#22211e", "#e8e6e1"),
    "block_info_text_color": ("#64615a", "#a5a29a"),
    "border_color_primary": ("#dedad0", "#35373b"),
    "border_color_accent": ("#1f6f8b", "#6bb8d3"),
    "color_accent_soft": ("#e3eef1", "#20333a"),
    "link_text_color": ("#1f6f8b", "#6bb8d3"),
    "loader_color": ("#1f6f8b", "#6bb8d3"),
    "slider_color": ("#1f6f8b", "#6bb8d3"),
    "input_background_fill": ("#fffefb", "#17181a"),
    "input_border_color": ("#cfcabd", "#44474c"),
    "input_border_color_focus": ("#1f6f8b", "#6bb8d3"),
    "input_placeholder_color": ("#64615a", "#a5a29a"),
    "checkbox_background_color_selected": ("#1f6f8b", "#1f6f8b"),
    "checkbox_border_color_selected": ("#1f6f8b", "#6bb8d3"),
    "checkbox_label_background_fill": ("#fffefb", "#17181a"),
    "checkbox_label_background_fill_selected": ("#e3eef1", "#20333a"),
    "checkbox_label_text_color_selected": ("#22211e", "#e8e6e1"),
    "checkbox_label_border_color_selected": ("#1f6f8b", "#6bb8d3"),
    "button_primary_background_fill": ("#1f6f8b", "#2a7f9d"),
    "button_primary_background_fill_hover": ("#195a71", "#246c86"),
    "button_primary_text_color": ("#ffffff", "#ffffff"),
    "button_secondary_background_fill": ("#e8e5dc", "#2c2f33"),
    "button_secondary_background_fill_hover": ("#dedad0", "#35373b"),
    "button_secondary_text_color": ("#22211e", "#e8e6e1"),
    "button_cancel_background_fill": ("#a33b12", "#a33b12"),
    "button_cancel_background_fill_hover": ("#83300f", "#83300f"),
    "button_cancel_text_color": ("#ffffff", "#ffffff"),
}

# The live view grows with its contents, so that the page has one scroll bar. The rest mends what Gradio gives screen
# readers: labels other than a button's text, labels of what is not an element to label, an image that is a button
# without a name, and buttons inside of buttons.
HEAD = """<style>.dark { --color-accent: #6bb8d3 !important; }</style>
<script>
setInterval(() => {
  const frame = document.querySelector("#live iframe"), page = frame?.contentDocument?.querySelector("main");
  for (const each of document.querySelectorAll(".upload-container[aria-label], .thumbnail-lg[aria-label]"))
    if (each.textContent.trim()) each.removeAttribute("aria-label");
  for (const each of document.querySelectorAll("div.empty[aria-label]")) each.role = "img";
  for (const each of document.querySelectorAll("#train-sheet button:has(img)"))
    each.role = "img", each.tabIndex = -1, each.ariaLabel = "Contact sheet of the data";
  for (const each of document.querySelectorAll(".toast-header[role=button]"))
    each.removeAttribute("role"), each.removeAttribute("tabindex");
  for (const each of document.querySelectorAll(".icon-button:has(.upload-container)")) {
    each.role = "group", each.tabIndex = -1, each.title = "";
    each.ariaLabel = "More files";
  }
  if (page) frame.style.height = `${page.scrollHeight + 8}px`;
}, 500);
</script>"""


def theme() -> gr.themes.Base:
    """Gradio's plainest theme in the colors of `cyclegan watch`."""
    settings = {"color_accent": "#1f6f8b"}  # has no dark variant: see `HEAD`
    for name, (light, dark) in VARIABLES.items():
        settings[name], settings[f"{name}_dark"] = light, dark
    base = gr.themes.Base(font=SANS, font_mono=MONO, radius_size="sm")
    return base.set(**settings, block_shadow="none", button_primary_shadow="none", button_secondary_shadow="none")
