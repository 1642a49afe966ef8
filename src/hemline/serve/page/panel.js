// The words beside the photo: the list of garments, the card of one, the labels of the photo as a whole.

/** An element with properties and children; texts are never read as HTML. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const percent = (share) => `${Math.round(share * 100)}\u202f%`;

const isGuess = (piece) => piece.garment.found_by === "label";

function coloured(element, colour) {
  element.style.setProperty("--own", colour);
  return element;
}

function swatches(colours) {
  const row = make("span", { className: "swatches", "aria-hidden": "true" });
  for (const colour of colours.slice(0, 5)) row.append(coloured(make("i"), colour.hex));
  return row;
}

const colourName = (colour) => colour.shade ?? colour.name;

function colourWords({ colours, multicolour }) {
  return multicolour ? "multicolour" : colours.slice(0, 3).map(colourName).join(", ");
}

/** The list's entry of a piece. */
export function option(piece) {
  const { garment } = piece;
  const item = make("li", { role: "option", tabIndex: -1, "aria-selected": "false" });
  item.id = `garment-${piece.number}`;
  item.dataset.number = piece.number;
  item.classList.toggle("part", Boolean(piece.parent));
  const key = coloured(make("b", { className: "key" }), piece.colour);
  key.classList.toggle("guess", isGuess(piece));
  const notes = [];
  if (isGuess(piece)) notes.push("guess");
  if (!garment.mask) notes.push("no place found");
  const words = make("span", { className: "what" }, make("span", { className: "name" }, piece.name));
  if (piece.parent) words.append(make("span", { className: "quiet" }, ` part of ${piece.parent.name} `));
  const hues = colourWords(garment);
  if (hues) words.append(" ", make("small", {}, hues));
  item.append(key, words);
  if (notes.length) item.append(make("small", { className: "note" }, notes.join(", ")));
  const bar = make("i", { "aria-hidden": "true" });
  bar.style.setProperty("--sure", `${100 * garment.score}%`);
  const score = make("span", { className: "score" }, percent(garment.score), bar);
  item.append(" ", swatches(garment.colours), score);
  return item;
}

/**
 * All about a piece.
 * @param {object} piece
 * @param {object[]} parts its parts that are shown
 * @param {number} least attributes below this score are left out
 * @param {{save: ?function, pick: function, close: function}} act what its buttons do; without save, no cut-out
 */
export function fillCard(card, piece, parts, least, act) {
  const { garment } = piece;
  const about = [percent(garment.score)];
  if (garment.mask) about.push(`${garment.area < 0.01 ? "under 1\u202f%" : percent(garment.area)} of the photo`);
  if (garment.outfit_part) about.push(garment.outfit_part);
  if (garment.multicolour) about.push("multicolour");
  if (piece.parent) about.push(`part of ${piece.parent.name}`);
  const close = make("button", { className: "close", "aria-label": "Close", onclick: act.close }, "\u00d7");
  const key = coloured(make("b", { className: "key" }), piece.colour);
  key.classList.toggle("guess", isGuess(piece));
  const head = make("h3", {}, key, piece.name);
  card.replaceChildren(close, head, make("p", { className: "said" }, about.join(" \u00b7 ")));
  if (isGuess(piece)) {
    const where = garment.mask ? "the stripes show its likeliest place" : "no place was found for it";
    card.append(make("p", { className: "guessed" }, `A guess: only the label of the whole photo names it; ${where}.`));
  }
  if (garment.colours.length) {
    const list = make("ul", { className: "colours", "aria-label": "Colours" });
    for (const colour of garment.colours) {
      const swatch = coloured(make("i", { "aria-hidden": "true" }), colour.hex);
      const share = make("span", {}, percent(colour.share));
      list.append(make("li", {}, swatch, make("span", {}, colourName(colour)), make("code", {}, colour.hex), share));
    }
    card.append(list);
  }
  const attributes = garment.attributes.filter((attribute) => attribute.score >= least);
  if (attributes.length) card.append(grouped(make("dl", { "aria-label": "Attributes" }), attributes));
  if (parts.length) {
    const row = make("p", { className: "row" }, make("span", { className: "said" }, "Parts:"));
    for (const part of parts) row.append(make("button", { onclick: () => act.pick(part) }, part.name));
    card.append(row);
  }
  if (garment.mask && act.save) {
    card.append(make("p", { className: "row" }, make("button", { id: "save-cutout", onclick: act.save }, "Save cut-out")));
  }
}

/** Labels under the names of their groups. */
export function grouped(list, labels) {
  const groups = new Map();
  for (const label of labels) groups.set(label.group, [...(groups.get(label.group) ?? []), label]);
  list.replaceChildren();
  for (const [group, members] of groups) {
    const words = members.map(({ label, score }) =>
      make("span", { className: "word" }, label, " ", make("small", {}, percent(score))));
    list.append(make("div", {}, make("dt", {}, group), make("dd", {}, ...words)));
  }
  return list;
}
