// Masks as shapes to draw with: each piece (a garment or a part) is decoded once, cropped to its box, in its colour.

/** Well apart from each other, bright on photos. */
const PALETTE = [
  "#56b4e9", "#ffa733", "#35d49a", "#ff7ab6", "#f0e442", "#a98bff", "#ff6b4a", "#a6e34f", "#37dbe6", "#e0b78a",
  "#7f9dff", "#e9e9ee",
];

/**
 * The garments of an answer, each followed by its parts.
 * @returns {{number: number, garment: object, parent: ?object, colour: string, name: string}[]} number counts from 1
 */
export function piecesOf(answer) {
  const pieces = [];
  const add = (garment, parent) => {
    const colour = PALETTE[pieces.length % PALETTE.length];
    const piece = { number: pieces.length + 1, garment, parent, colour, name: garment.category };
    pieces.push(piece);
    for (const part of garment.parts) add(part, piece);
  };
  for (const garment of answer.garments) add(garment, null);
  return pieces;
}

export function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, width);
  canvas.height = Math.max(1, height);
  return canvas;
}

/** A mask's file: base64 of a PNG with one bit a pixel, as a bitmap of the photo's size. */
function bitmapOf(mask) {
  const bytes = Uint8Array.from(atob(mask), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/png" }));
}

/**
 * A piece's mask, scaled and in its colour.
 * @param {object} piece from piecesOf
 * @param {number} scale 1: the photo's size, where the alpha is the mask itself
 * @returns {Promise<?{canvas: HTMLCanvasElement, x: number, y: number, alpha: Uint8ClampedArray}>} its place on the
 *     scaled photo, and the alpha of each pixel; null where the piece has no mask
 */
export async function shapeOf(piece, scale) {
  if (!piece.garment.mask || !piece.garment.box) return null;
  const bitmap = await bitmapOf(piece.garment.mask);
  const [x, y, width, height] = piece.garment.box;
  const left = Math.floor(x * scale), top = Math.floor(y * scale);
  const canvas = canvasOf(Math.ceil((x + width) * scale) - left, Math.ceil((y + height) * scale) - top);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  const shown = [left / scale, top / scale, canvas.width / scale, canvas.height / scale];
  context.drawImage(bitmap, ...shown, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(piece.colour.slice(at, at + 2), 16));
  const alpha = new Uint8ClampedArray(canvas.width * canvas.height);
  for (let i = 0, at = 0; i < alpha.length; i++, at += 4) {
    alpha[i] = (image.data[at] - 127.5) * 4 + 127.5; // white is the garment; a soft edge of two pixels stays
    image.data[at] = red;
    image.data[at + 1] = green;
    image.data[at + 2] = blue;
    image.data[at + 3] = alpha[i];
  }
  context.putImageData(image, 0, 0);
  return { canvas, x: left, y: top, alpha };
}

/**
 * Which piece is at each pixel: its number, 0 for none. Later pieces lie over earlier ones.
 * @returns {Uint16Array} (height * width)
 */
export function labelMap(pieces, width, height) {
  const map = new Uint16Array(width * height);
  for (const { number, shape } of pieces) {
    if (!shape) continue;
    const across = shape.canvas.width;
    for (let i = 0; i < shape.alpha.length; i++) {
      if (shape.alpha[i] < 128) continue;
      const x = shape.x + (i % across), y = shape.y + Math.floor(i / across);
      if (x >= 0 && x < width && y < height) map[y * width + x] = number;
    }
  }
  return map;
}

/**
 * The place on a shape that is farthest from its edge, where a label reads best.
 * @returns {[number, number]} x, y on the scaled photo
 */
export function middleOf(shape) {
  const { width, height } = shape.canvas;
  const step = Math.max(1, Math.ceil(Math.max(width, height) / 80));
  const columns = Math.ceil(width / step), rows = Math.ceil(height / step);
  const far = new Float32Array((columns + 2) * (rows + 2)); // a rim of zeros around
  const at = (column, row) => (row + 1) * (columns + 2) + column + 1;
  const middle = (cell, sides) => Math.min(sides - 1, cell * step + (step >> 1));
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (shape.alpha[middle(row, height) * width + middle(column, width)] < 128) continue;
      const i = at(column, row);
      far[i] = 1 + Math.min(far[i - 1], far[i - columns - 2], far[i - columns - 3] + 0.4, far[i - columns - 1] + 0.4);
    }
  }
  let best = 0, place = [0, 0];
  for (let row = rows - 1; row >= 0; row--) {
    for (let column = columns - 1; column >= 0; column--) {
      const i = at(column, row);
      if (!far[i]) continue;
      far[i] = Math.min(
        far[i], 1 + far[i + 1], 1 + far[i + columns + 2], 1.4 + far[i + columns + 3], 1.4 + far[i + columns + 1],
      );
      if (far[i] > best) [best, place] = [far[i], [column, row]];
    }
  }
  return [shape.x + middle(place[0], width), shape.y + middle(place[1], height)];
}
