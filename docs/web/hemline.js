// Reads what is worn in a photo, in the browser: `hemline export WEIGHTS --to web` writes the graph and the words.
// Needs onnxruntime-web, handed in as `ort`.

const LONGEST = 1024; // pixels; more only costs time, for the network sees less

/** Load the graph (an address, or its bytes) -> a function (pixels, width, height) => answer. */
export async function load(ort, graph) {
  const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
  return async (pixels, width, height) => {
    const photo = new ort.Tensor("uint8", pixels, [height, width, pixels.length / (width * height)]);
    return session.run({ photo });
  };
}

/** A file, blob or <img> -> {pixels, width, height}, RGBA on white, turned as its EXIF says. */
export async function pixelsOf(source) {
  const bitmap = await createImageBitmap(source);
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return { pixels: new Uint8Array(data.buffer), width, height };
}

/** The answer in words -> {garments: [{category, score, box, foundBy, attributes}], attributes}. */
export function inWords(answer, words) {
  const count = words.attributes.length;
  const said = (row) =>
    words.attributes
      .map(({ group, name }, i) => ({ group, name, score: answer.attribute_scores.data[row * count + i] }))
      .filter((_, i) => answer.attributes.data[row * count + i]);
  const garments = words.categories
    .map(({ name }, k) => ({
      category: name,
      score: answer.scores.data[k],
      foundBy: [null, "mask", "label"][answer.found.data[k]],
      box: Array.from(answer.boxes.data.slice(4 * k, 4 * k + 4)), // x, y, width, height: shares of the photo
      attributes: said(1 + k),
    }))
    .filter(({ foundBy }) => foundBy);
  return { garments, attributes: said(0) };
}

/** The garments in colours, see-through where nobody is -> {pixels, width, height}, RGBA, to draw over the photo. */
export function tint(answer, alpha = 140) {
  const [layers, height, width] = answer.masks.dims;
  const pixels = new Uint8ClampedArray(4 * width * height);
  for (let layer = 0; layer < layers; layer++) {
    for (let i = 0; i < width * height; i++) {
      const k = answer.masks.data[layer * width * height + i];
      if (k) pixels.set([(k * 97) % 256, (k * 57 + 80) % 256, (k * 151 + 160) % 256, alpha], 4 * i);
    }
  }
  return { pixels, width, height };
}
