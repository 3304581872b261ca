"use strict";
// RUNTIME and MODEL are defined in runtime.js and model.js: a page opened from a folder can load scripts, but no other files.

const MAX_PIXELS = 1024 * 1024; // larger images are scaled down: the time grows with the number of pixels
const $ = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

// The worker: loads the model once, then answers each {values, shape} with {values} or {error}.
async function work(runtime, model) {
  const module = new Blob([runtime.module], { type: "text/javascript" });
  ort.env.wasm.numThreads = 1; // more threads need a page served with cross-origin isolation
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(module) };
  ort.env.wasm.wasmBinary = runtime.wasm;
  const session = await ort.InferenceSession.create(model.graph, { executionProviders: ["wasm"] });
  onmessage = async ({ data }) => {
    try {
      const result = await session.run({ [model.input]: new ort.Tensor("float32", data.values, data.shape) });
      const values = result[model.output].data;
      postMessage({ values }, [values.buffer]);
    } catch (error) {
      postMessage({ error: String(error) });
    }
  };
  postMessage({ ready: true });
}

function startWorker() {
  const first = `onmessage = ({ data }) => work(data.runtime, data.model)
    .catch((error) => postMessage({ error: String(error) }));`;
  const worker = new Worker(
    URL.createObjectURL(new Blob([atob(RUNTIME.api), "\n", work.toString(), "\n", first], { type: "text/javascript" })),
  );
  worker.postMessage({
    runtime: { module: bytes(RUNTIME.module), wasm: bytes(RUNTIME.wasm).buffer },
    model: { input: MODEL.input, output: MODEL.output, graph: bytes(MODEL.graph) },
  });
  return worker;
}

function request(worker, message, transfer = []) {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data));
    worker.onerror = (event) => reject(new Error(event.message || "the runtime did not start"));
    if (message) worker.postMessage(message, transfer);
  });
}

function showStatus(text, wrong = false) {
  $("status").textContent = text;
  $("status").className = wrong ? "wrong" : "";
}

// Draws an image upright on white, scaled down to MAX_PIXELS if it is larger; returns whether it was.
function draw(image, canvas) {
  const scale = Math.min(1, Math.sqrt(MAX_PIXELS / (image.width * image.height)));
  canvas.width = Math.max(1, Math.floor(image.width * scale));
  canvas.height = Math.max(1, Math.floor(image.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return scale < 1;
}

// Pixels as planes (C, H, W) in [-1, 1]; gray by the weights of ITU-R BT.601.
function toPlanes(canvas, channels) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const count = canvas.width * canvas.height;
  const planes = new Float32Array(channels * count);
  for (let i = 0; i < count; i++) {
    const [r, g, b] = [data[4 * i], data[4 * i + 1], data[4 * i + 2]];
    const values = channels === 1 ? [0.299 * r + 0.587 * g + 0.114 * b] : [r, g, b];
    values.forEach((value, c) => (planes[c * count + i] = value / 127.5 - 1));
  }
  return planes;
}

function fromPlanes(planes, canvas, width, height, channels) {
  [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  const count = width * height;
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) {
      const value = planes[(channels === 1 ? 0 : c) * count + i];
      image.data[4 * i + c] = Math.round((value + 1) * 127.5); // clamped by the array's type
    }
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

async function translate(worker, file) {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    showStatus(`${file.name} is not an image that this browser can read.`, true);
    return;
  }
  const scaled = draw(image, $("before"));
  const { width, height } = $("before");
  const channels = Number(MODEL.in_channels);
  [$("after").width, $("after").height] = [width, height];
  $("result").hidden = false;
  $("save").hidden = true;
  const start = performance.now();
  const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
  const clock = setInterval(() => showStatus(`Translating ${width} × ${height} pixels… ${seconds()} s`), 200);
  showStatus(`Translating ${width} × ${height} pixels…`);
  try {
    const values = toPlanes($("before"), channels);
    const message = { values, shape: [1, channels, height, width] };
    const result = await request(worker, message, [values.buffer]);
    fromPlanes(result.values, $("after"), width, height, Number(MODEL.out_channels));
    const note = scaled ? ` The image was scaled down from ${image.width} × ${image.height}.` : "";
    showStatus(`Done: ${width} × ${height} pixels in ${seconds()} s.${note}`);
    await offerDownload(file.name);
  } catch (error) {
    showStatus(`The image could not be translated; try a smaller one. (${error.message})`, true);
  } finally {
    clearInterval(clock);
  }
}

async function offerDownload(name) {
  const blob = await new Promise((resolve) => $("after").toBlob(resolve, "image/png"));
  URL.revokeObjectURL($("save").href);
  $("save").href = URL.createObjectURL(blob);
  $("save").download = `${name.replace(/\.[^.]*$/, "")}-translated.png`;
  $("save").hidden = false;
}

async function main() {
  $("model").textContent = `From ${MODEL.domain_in} to ${MODEL.domain_out}. The model was ${MODEL.source}` +
    `${Number(MODEL.trained_scale) ? `, on images of ${MODEL.trained_scale} pixels` : ""}.`;
  let worker;
  try {
    worker = startWorker();
    await request(worker);
  } catch (error) {
    showStatus(`The model cannot be loaded in this browser. (${error.message})`, true);
    return;
  }
  let busy = false;
  const take = async (file) => {
    if (!file || busy) return;
    [busy, $("file").disabled] = [true, true];
    await translate(worker, file);
    [busy, $("file").disabled, $("file").value] = [false, false, ""];
  };
  $("file").disabled = false;
  showStatus("");
  $("file").addEventListener("change", () => take($("file").files[0]));
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dragging", name === "dragover");
      if (name === "drop") take(event.dataTransfer.files[0]);
    });
  }
}

main();
