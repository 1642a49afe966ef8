// The photo with its garments: tint, outlines, labels; one lit up and the rest dimmed.

import { canvasOf, labelMap, middleOf, piecesOf, shapeOf } from "./shapes.js";

const LONG_SIDE = 1400; // of the picture on the page, in its own pixels; downloads have the photo's size
const MOST_ENLARGED = 3;
const TINT = 0.42;
const ALL_LAYERS = { photo: true, tint: true, outlines: true, labels: true, parts: true };
const DIM = "rgba(10, 10, 14, 0.66)";
const EDGE = "rgba(12, 12, 16, 0.85)";

/** The scale at which a photo is shown. */
export function viewScale(width, height) {
  return Math.min(MOST_ENLARGED, LONG_SIDE / Math.max(width, height));
}

/** A photo drawn at a scale. */
export function scaled(bitmap, size, scale) {
  const canvas = canvasOf(Math.round(size.width * scale), Math.round(size.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  if (bitmap) context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  else {
    context.fillStyle = "#8b8b92"; // the server can read the file, this browser can not
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  return canvas;
}

export class Picture {
  /** @param {HTMLCanvasElement} photo the photo at its scale */
  constructor(photo, pieces) {
    this.photo = photo;
    this.pieces = pieces;
    this.lights = new Map();
    this.update(pieces, ALL_LAYERS);
  }

  /** An answer's pieces on its photo. */
  static async of(photo, answer, scale) {
    const pieces = piecesOf(answer);
    const shapes = await Promise.all(pieces.map((piece) => shapeOf(piece, scale)));
    shapes.forEach((shape, i) => Object.assign(pieces[i], { shape, middle: shape && middleOf(shape) }));
    return new Picture(photo, pieces);
  }

  /** Which pieces are there, and which layers. */
  update(pieces, layers) {
    const guess = (piece) => piece.garment.found_by === "label";
    const rank = (piece) => (piece.parent ? 2 : guess(piece) ? 0 : 1); // parts over garments over guesses
    const there = pieces.filter((piece) => piece.shape && (layers.parts || !piece.parent));
    this.shown = there.sort((a, b) => rank(a) - rank(b) || b.garment.area - a.garment.area);
    this.layers = layers;
    this.map = null;
    this.cover = null;
  }

  /** The piece at a place on the picture, 0..1 across and down, or null. */
  at(across, down) {
    const x = Math.floor(across * this.photo.width), y = Math.floor(down * this.photo.height);
    if (x < 0 || y < 0 || x >= this.photo.width || y >= this.photo.height) return null;
    this.map ??= labelMap(this.shown, this.photo.width, this.photo.height);
    const number = this.map[y * this.photo.width + x];
    return number ? this.pieces[number - 1] : null;
  }

  /**
   * The piece that a finger means: the one under it; one smaller than a finger also where the finger is beside it.
   * @param {number} reach how far beside, in the picture's pixels; half of it where another piece is under the finger
   */
  near(across, down, reach) {
    const under = this.at(across, down);
    const small = ({ shape }) => Math.min(shape.canvas.width, shape.canvas.height) < 2 * reach;
    if (!this.map || (under && small(under))) return under;
    const { width, height } = this.photo;
    let best = under, nearest = under ? reach / 2 : reach;
    for (let y = Math.max(0, Math.floor(down * height - reach)); y < Math.min(height, down * height + reach); y++) {
      for (let x = Math.max(0, Math.floor(across * width - reach)); x < Math.min(width, across * width + reach); x++) {
        const far = Math.hypot(x - across * width, y - down * height), number = this.map[y * width + x];
        if (!number || far > nearest || (under && !small(this.pieces[number - 1]))) continue;
        [best, nearest] = [this.pieces[number - 1], far];
      }
    }
    return best;
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {?object} lit the piece that is lit up
   * @param {number} unit height of a line of text, in the canvas's pixels
   */
  draw(canvas, lit, unit) {
    const { width, height } = this.photo;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (this.layers.photo) context.drawImage(this.photo, 0, 0);
    const shape = lit?.shape && this.shown.includes(lit) ? lit.shape : null;
    context.drawImage(shape ? this._light(lit) : this._cover(), 0, 0);
    if (this.layers.labels) this._labels(context, shape ? [lit] : this.shown, unit);
  }

  /** All that lies over the photo, but for the labels. */
  _cover() {
    if (this.cover) return this.cover;
    this.cover = canvasOf(this.photo.width, this.photo.height);
    const context = this.cover.getContext("2d");
    if (this.layers.tint) {
      context.globalAlpha = TINT;
      for (const piece of this.shown) context.drawImage(this._fill(piece), piece.shape.x, piece.shape.y);
      context.globalAlpha = 1;
    }
    if (this.layers.outlines) for (const piece of this.shown) this._outline(context, piece, 1);
    return this.cover;
  }

  /** The rest dimmed, and an outline around the piece. */
  _light(piece) {
    const kept = this.lights.get(piece);
    if (kept) return kept;
    const light = canvasOf(this.photo.width, this.photo.height);
    const context = light.getContext("2d");
    context.fillStyle = DIM;
    context.fillRect(0, 0, light.width, light.height);
    context.globalCompositeOperation = "destination-out";
    context.drawImage(piece.shape.canvas, piece.shape.x, piece.shape.y);
    context.globalCompositeOperation = "source-over";
    this._outline(context, piece, 1.5);
    if (this.lights.size > 8) this.lights.clear();
    this.lights.set(piece, light);
    return light;
  }

  /** What a piece is filled with: stripes where it is a guess. */
  _fill(piece) {
    if (piece.garment.found_by !== "label") return piece.shape.canvas;
    return striped(piece.shape.canvas, this._line() * 4);
  }

  _line() {
    return Math.max(1, Math.max(this.photo.width, this.photo.height) / 560);
  }

  /** A line around a piece, dark outside so that it shows on any photo; dashed where the piece is a guess. */
  _outline(context, piece, weight) {
    const { canvas, x, y } = piece.shape;
    const inner = this._line() * weight, outer = inner * 1.9, rim = Math.ceil(outer) + 1;
    let ring = canvasOf(canvas.width + 2 * rim, canvas.height + 2 * rim);
    const pen = ring.getContext("2d");
    const dark = canvasOf(canvas.width, canvas.height), ink = dark.getContext("2d");
    ink.drawImage(canvas, 0, 0);
    ink.globalCompositeOperation = "source-in";
    ink.fillStyle = EDGE;
    ink.fillRect(0, 0, dark.width, dark.height);
    for (const [stamp, radius] of [[dark, outer], [canvas, inner]]) {
      for (let turn = 0; turn < 8; turn++) {
        const angle = (turn * Math.PI) / 4;
        pen.drawImage(stamp, rim + radius * Math.cos(angle), rim + radius * Math.sin(angle));
      }
    }
    pen.globalCompositeOperation = "destination-out";
    pen.drawImage(canvas, rim, rim);
    if (piece.garment.found_by === "label") ring = striped(ring, this._line() * 7);
    context.drawImage(ring, x - rim, y - rim);
  }

  /** Names on their pieces; where two would cover each other, one stands aside with a line to its piece. */
  _labels(context, pieces, unit) {
    context.font = `600 ${unit}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    const high = unit * 1.7, taken = [];
    for (const piece of [...pieces].sort((a, b) => a.middle[1] - b.middle[1])) {
      const text = piece.garment.found_by === "label" ? `${piece.name}?` : piece.name;
      const wide = context.measureText(text).width + unit * 2.1;
      const spots = labelSpots(piece, wide, high).map(([x, y]) => ({
        x: Math.max(2, Math.min(this.photo.width - wide - 2, x)),
        y: Math.max(2, Math.min(this.photo.height - high - 2, y)),
        wide, text, piece,
      }));
      const free = (spot) => taken.every((other) => !covers(spot, other, high + 2));
      taken.push(spots.find(free) ?? spots[0]);
    }
    for (const label of taken) leader(context, label, high);
    for (const { x, y, wide, text, piece } of taken) {
      context.fillStyle = "rgba(18, 18, 22, 0.86)";
      context.beginPath();
      context.roundRect(x, y, wide, high, high / 2);
      context.fill();
      context.fillStyle = piece.colour;
      context.beginPath();
      context.arc(x + unit * 0.85, y + high / 2, unit * 0.36, 0, 2 * Math.PI);
      context.fill();
      context.fillStyle = "#fff";
      context.fillText(text, x + unit * 1.45, y + high / 2 + unit * 0.05);
    }
  }
}

/** Whether two labels of that height cover each other. */
function covers(one, other, high) {
  return one.x < other.x + other.wide && other.x < one.x + one.wide && Math.abs(one.y - other.y) < high;
}

/** Where a label of that size may begin, the best place first: on its piece, but beside one that it would hide. */
function labelSpots({ shape, middle }, wide, high) {
  const large = shape.canvas.width * shape.canvas.height > 3 * wide * high;
  const [left, right] = [shape.x - wide - high * 0.4, shape.x + shape.canvas.width + high * 0.4];
  const top = middle[1] - high / 2, spots = large ? [[middle[0] - wide / 2, top]] : [];
  for (let step = 0; step < 12; step++) {
    for (const y of step ? [top + step * high * 0.6, top - step * high * 0.6] : [top]) {
      if (large && step < 5) spots.push([middle[0] - wide / 2, y]);
      spots.push([right, y], [left, y]);
    }
  }
  return spots;
}

/** A line from a piece to its label, where the label stands beside it. */
function leader(context, { x, y, wide, piece }, high) {
  const [across, down] = piece.middle;
  const inside = across >= x && across <= x + wide && down >= y && down <= y + high;
  if (inside) return;
  context.beginPath();
  context.moveTo(across, down);
  context.lineTo(Math.max(x + high / 2, Math.min(x + wide - high / 2, across)), y + high / 2);
  for (const [style, width] of [[EDGE, high * 0.14], [piece.colour, high * 0.07]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.stroke();
  }
}

/** A copy of a canvas in slanted stripes, `width` pixels each. */
function striped(canvas, width) {
  const copy = canvasOf(canvas.width, canvas.height);
  const context = copy.getContext("2d");
  context.lineWidth = width;
  context.beginPath();
  for (let x = -copy.height; x < copy.width; x += width * 2) {
    context.moveTo(x, copy.height);
    context.lineTo(x + copy.height, 0);
  }
  context.stroke();
  context.globalCompositeOperation = "source-in";
  context.drawImage(canvas, 0, 0);
  return copy;
}
