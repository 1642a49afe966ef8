"""What a browser needs to read a photo, in a folder, for the tests: the graph, its words, the page, onnxruntime-web."""

import json
import shutil
import subprocess
from pathlib import Path

import onnx
import pytest

from hemline.metadata import read_metadata
from hemline.predict import demo_photo
from hemline.runtime import default_weights
from hemline.web import words_of
from hemline.web_graph import web_graph

PAGE = Path(__file__).parents[1] / "docs" / "web"
DRIVER = """<!doctype html><meta charset="utf-8"><iframe src="index.html"></iframe>
<script type="module">
  const frame = document.querySelector("iframe");
  await new Promise((done) => frame.addEventListener("load", done));
  const page = frame.contentDocument;
  const tell = (text) => fetch("answer", { method: "POST", body: text });
  frame.contentWindow.addEventListener("unhandledrejection", ({ reason }) => tell("failed: " + reason));
  const file = new File([await (await fetch("photo.jpg")).blob()], "photo.jpg", { type: "image/jpeg" });
  const chosen = new DataTransfer();
  chosen.items.add(file);
  const input = page.querySelector("input");
  input.files = chosen.files;
  while (!page.querySelector("pre").textContent) {
    if (page.querySelector("canvas").width === 300) input.dispatchEvent(new Event("change"));
    await new Promise((done) => setTimeout(done, 3000));
  }
  const canvas = page.querySelector("canvas");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  tell(JSON.stringify({ width: canvas.width, height: canvas.height, pixels: Array.from(pixels.slice(0, 400000)),
                        words: JSON.parse(page.querySelector("pre").textContent) }));
</script>
"""
NODE = """import * as ort from "onnxruntime-web/wasm";
import { readFileSync, writeFileSync } from "node:fs";
import { inWords, load, tint } from "./hemline.js";

ort.env.wasm.numThreads = 1;
const words = JSON.parse(readFileSync("street.web.json", "utf8"));
const read = await load(ort, readFileSync("street.web.onnx"));
const answers = [];
for (const { file, width, height } of JSON.parse(readFileSync("photos.json", "utf8"))) {
  const answer = await read(new Uint8Array(readFileSync(file)), width, height);
  const outputs = Object.entries(answer).map(([name, { dims, data }]) => [name, { dims, data: Array.from(data) }]);
  const { pixels, ...size } = tint(answer);
  answers.push({ outputs: Object.fromEntries(outputs), words: inWords(answer, words), size, tint: Array.from(pixels) });
}
writeFileSync("answers.json", JSON.stringify(answers));
"""


def lay_out(folder: Path) -> None:
    """Put all of it into a folder; the test is skipped where node, npm or its registry is missing."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs node and npm")
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    try:
        fetched = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "onnxruntime-web@^1.20"],
            cwd=folder, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip("npm's registry does not answer")
    if fetched.returncode:
        pytest.skip(f"npm cannot install onnxruntime-web: {fetched.stderr.strip()[-300:]}")
    metadata = read_metadata(default_weights())
    onnx.save(web_graph(onnx.load(default_weights()), metadata), folder / "street.web.onnx")
    (folder / "street.web.json").write_text(json.dumps(words_of(metadata)), encoding="utf-8")
    for file in PAGE.iterdir():
        shutil.copy(file, folder)
    shutil.copy(demo_photo(), folder / "photo.jpg")
    (folder / "onnxruntime-web").symlink_to("node_modules/onnxruntime-web/dist")
    (folder / "driver.html").write_text(DRIVER, encoding="utf-8")
    (folder / "run.js").write_text(NODE, encoding="utf-8")
