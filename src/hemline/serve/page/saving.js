// What can be kept: the JSON as it came, the overlay and cut-outs at the photo's own size.

import { Picture, scaled } from "./picture.js";
import { canvasOf, shapeOf } from "./shapes.js";

/** Hands a file to the browser's downloads. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A photo's name as part of a file name, without its suffix. */
export function stemOf(name) {
  return slug(name.replace(/\.[^.]*$/, ""));
}

function slug(text) {
  return text.replace(/[\x00-\x20<>:"/\\|?*,\x7f]+/g, "_").replace(/^[_.]+|[_.]+$/g, "").slice(0, 100) || "photo";
}

export function cutoutName(stem, piece) {
  return `${stem}.${piece.number}.${slug(piece.name)}.cutout.png`;
}

async function pngOf(canvas) {
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new Error("This browser cannot make a picture as large as this photo.");
  return blob;
}

/**
 * The photo at its own size with what the page shows of it.
 * @param {File} file
 * @param {object} answer
 * @param {number[]} numbers of the pieces that are shown
 * @param {object} layers
 * @returns {Promise<Blob>} PNG
 */
export async function overlay(file, answer, numbers, layers) {
  const bitmap = await createImageBitmap(file);
  const picture = await Picture.of(scaled(bitmap, answer.size, 1), answer, 1);
  bitmap.close();
  picture.update(picture.pieces.filter((piece) => numbers.includes(piece.number)), layers);
  const canvas = canvasOf(1, 1);
  picture.draw(canvas, null, Math.max(12, Math.sqrt(answer.size.width * answer.size.height) / 40));
  return pngOf(canvas);
}

/**
 * One piece alone, cropped to its box; the rest is transparent.
 * @param {File} file
 * @returns {Promise<Blob>} PNG
 */
export async function cutout(file, answer, piece) {
  const { canvas, x, y } = await shapeOf(piece, 1);
  const bitmap = await createImageBitmap(file);
  const context = canvas.getContext("2d");
  context.globalCompositeOperation = "source-in"; // the photo where the mask is
  context.drawImage(bitmap, -x, -y, answer.size.width, answer.size.height);
  bitmap.close();
  return pngOf(canvas);
}

/**
 * Several files as one ZIP, not compressed: PNGs are already.
 * @param {{name: string, blob: Blob}[]} files
 * @returns {Promise<Blob>}
 */
export async function zip(files) {
  const bodies = [], index = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const bytes = new Uint8Array(await blob.arrayBuffer()), path = new TextEncoder().encode(name);
    const size = bytes.length;
    // version 2.0, names in UTF-8, stored, midnight of 1 January 1980, no extra field
    const common = packed([20, 2, 0x0800, 2, 0, 2, 0, 2, 0x21, 2, crc32(bytes), 4, size, 4, size, 4, path.length, 2, 0, 2]);
    const head = packed([0x04034b50, 4]);
    bodies.push(head, common, path, bytes);
    index.push(packed([0x02014b50, 4, 20, 2]), common, packed([0, 2, 0, 2, 0, 2, 0, 4, offset, 4]), path);
    offset += head.length + common.length + path.length + bytes.length;
  }
  const size = index.reduce((sum, piece) => sum + piece.length, 0);
  const end = packed([0x06054b50, 4, 0, 2, 0, 2, files.length, 2, files.length, 2, size, 4, offset, 4, 0, 2]);
  return new Blob([...bodies, ...index, end], { type: "application/zip" });
}

/** Numbers, each followed by its width in bytes, little end first. */
function packed(pairs) {
  const bytes = [];
  for (let i = 0; i < pairs.length; i += 2) {
    for (let byte = 0; byte < pairs[i + 1]; byte++) bytes.push((pairs[i] >>> (8 * byte)) & 255);
  }
  return Uint8Array.from(bytes);
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
