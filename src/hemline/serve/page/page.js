// The page of `hemline serve`: photos come in, the clothes on them light up.

import { Refusal, health, predict, token } from "./api.js";
import { takeIn } from "./intake.js";
import { forget, hold, open, prepare, ready, room } from "./memory.js";
import { fillCard, grouped, make, option, percent } from "./panel.js";
import { cutout, cutoutName, overlay, save, stemOf, zip } from "./saving.js";

const AT_ONCE = 2; // photos that are asked for at a time
const FINGER = 16; // how far from a garment a finger may be, in pixels of the page
const LABEL_HEIGHT = 13; // of the names on the photo, in pixels of the page

const $ = (id) => document.getElementById(id);
const canvas = $("photo");

/**
 * Photos: {file, name}; once looked at, {seen, size, small (canvas)}; once answered, {answer, text, seconds}; those shown
 * last also have {view (canvas), picture}.
 */
let photos = [];
let current = null; // the photo that is shown
let wanted = null;  // the photo to show: the first of those that came in last, until another is chosen
let touched = false; // the photo was last pressed by a finger
let picked = null;  // a piece that was chosen, until another is
let hovered = null; // a piece under the mouse
let failed = [];    // files that may be asked for again
let most = {};      // the server's limits

// -- photos come in ---------------------------------------------------------------------------------------------

const lanes = Array.from({ length: AT_ONCE }, () => Promise.resolve());
let turns = 0, shows = 0;

async function add(files) {
  if (!files.length) return;
  quiet();
  wanted = null;
  for (const file of files) {
    const photo = { file, name: file.name || "photo" };
    photos.push(photo);
    wanted ??= photo;
    const opened = open(photo);
    opened.then((seen) => {
      strip();
      if (seen && wanted === photo && !photo.answer) show(photo);
    });
    const lane = turns++ % AT_ONCE;
    lanes[lane] = lanes[lane].then(() => read(photo, opened));
  }
  say(files.length === 1 ? `Reading ${files[0].name || "the photo"} …` : `Reading ${files.length} photos …`);
  await Promise.all(lanes);
}

async function read(photo, opened) {
  const began = performance.now();
  try {
    if (most.bytes && photo.file.size > most.bytes) {
      const [size, limit] = [photo.file.size, most.bytes].map((bytes) => (bytes / 1e6).toPrecision(3));
      throw new Refusal(`The file has ${size} MB, and this server takes up to ${limit} MB.`);
    }
    const { answer, text } = await predict(photo.file);
    await opened;
    Object.assign(photo, { answer, text, seconds: (performance.now() - began) / 1000 });
    if (current === photo || wanted === photo || !current) await show(photo);
    else if (room() || !photo.small) await prepare(photo, current);
    strip();
  } catch (problem) {
    await opened;
    refuse(photo, problem);
  }
}

function refuse(photo, problem) {
  const refusal = problem instanceof Refusal ? problem : new Refusal(`The answer cannot be shown: ${problem.message}.`);
  forget(photo);
  photos = photos.filter((other) => other !== photo);
  if (wanted === photo) wanted = null;
  if (refusal.again || refusal.token) failed.push(photo.file);
  if (current === photo) show(photos.findLast((other) => other.answer) ?? photos.at(-1) ?? null);
  strip();
  trouble(refusal.message.startsWith(photo.name) ? refusal.message : `${photo.name}: ${refusal.message}`);
  $("retry").hidden ||= refusal.token;
  if (refusal.token) {
    token.drop();
    askForToken();
  }
  if (!photos.some((other) => !other.answer)) say(...(current?.answer ? summary() : []));
}

/** Says what went wrong, in one sentence, below what is there already. */
function trouble(sentence) {
  const before = [...$("error").children].map((line) => line.textContent);
  if (!before.includes(sentence)) $("error").append(make("span", {}, sentence));
  $("trouble").hidden = false;
  $("retry").hidden = !failed.length;
}

function quiet() {
  $("trouble").hidden = true;
  $("error").replaceChildren();
  failed = [];
}

function again() {
  const files = failed;
  quiet();
  add(files);
}

function askForToken() {
  $("ask").hidden = false;
  $("token").value = "";
  $("token").focus();
}

// -- what is shown ----------------------------------------------------------------------------------------------

const layers = () => Object.fromEntries([...$("layers").elements].filter((x) => x.name).map((x) => [x.name, x.checked]));
const least = () => Number($("least").value) / 100;

/** The pieces whose score, and whose garment's, reaches the slider. */
function passing() {
  const enough = (piece) => piece.garment.score >= least();
  return current.picture.pieces.filter((piece) => enough(piece) && (!piece.parent || enough(piece.parent)));
}

function listed() {
  return passing().filter((piece) => layers().parts || !piece.parent);
}

/** Puts a photo on the page, or none; the last one that was asked for stays. */
async function show(photo) {
  const turn = ++shows;
  if (photo && ready(photo)) hold(photo, current);
  else if (photo) {
    try {
      await prepare(photo, current);
    } catch (problem) {
      return refuse(photo, problem);
    }
    if (!photos.includes(photo)) return forget(photo); // refused meanwhile
    if (turn !== shows) return;
  }
  current = photo;
  picked = hovered = null;
  document.body.classList.toggle("begun", Boolean(photo));
  $("work").hidden = !photo?.view;
  $("work").setAttribute("aria-busy", String(Boolean(photo && !photo.answer)));
  for (const control of document.querySelectorAll(".tools button, .tools input")) control.disabled = !photo?.answer;
  strip();
  if (!photo?.view) return;
  if (photo.answer) {
    $("save-overlay").disabled = !photo.seen;
    $("save-cutouts").disabled = !photo.seen || !photo.picture.pieces.some((piece) => piece.shape);
    $("parts-layer").hidden = !photo.picture.pieces.some((piece) => piece.parent);
    say(...summary());
  }
  refresh();
}

function choose(photo) {
  wanted = photo;
  show(photo);
}

function summary() {
  const { answer, name, seen, seconds } = current;
  const words = answer.garments.map((garment) => garment.category);
  const found = words.length ? count(words.length) : "no garment found";
  const unseen = seen ? "" : " This browser cannot show this kind of file, the server can read it.";
  return [
    `${name}: ${found}`, make("span", { className: "quiet" }, words.length ? `: ${words.join("; ")}` : ""),
    `. Answered in ${seconds < 0.05 ? "under 0.1" : seconds.toFixed(1)}\u202fs.${unseen}`,
  ];
}

const count = (number) => `${number} ${number === 1 ? "garment" : "garments"}`;

/** Draws all of the current photo anew: after another photo, a layer or the slider. */
function refresh() {
  $("least-said").textContent = percent(least());
  const answered = Boolean(current?.picture);
  $("card").dataset.number = ""; // to be filled anew
  $("garments").replaceChildren();
  $("whole").hidden = !answered;
  $("none").hidden = true;
  $("garments-head").textContent = "Garments";
  if (!answered) {
    canvas.setAttribute("aria-label", `The photo ${current.name}, being read`);
    return light();
  }
  const pieces = listed();
  current.picture.update(pieces, layers());
  if (!pieces.includes(picked)) picked = null;
  if (!pieces.includes(hovered)) hovered = null;
  for (const piece of pieces) $("garments").append(option(piece));
  const total = current.answer.garments.length, here = pieces.filter((piece) => !piece.parent).length;
  $("garments-head").textContent = here === total ? `Garments: ${total}` : `Garments: ${here} of ${total}`;
  $("none").hidden = here > 0;
  $("none").textContent = total ? "None reaches this score." : "No garment was found in this photo.";
  const labels = current.answer.labels.filter((label) => label.score >= least());
  grouped($("labels"), labels);
  $("whole").hidden = !labels.length;
  const names = pieces.map((piece) => piece.name).join("; ");
  canvas.setAttribute("aria-label", `The photo ${current.name}${names ? `; on it: ${names}` : ""}`);
  light();
}

/** Lights up what is hovered or picked; called at every move, so it only puts prepared layers together. */
function light() {
  const lit = hovered ?? picked;
  if (current.picture) current.picture.draw(canvas, lit, (LABEL_HEIGHT * current.view.width) / (canvas.clientWidth || 700));
  else {
    Object.assign(canvas, { width: current.view.width, height: current.view.height });
    canvas.getContext("2d").drawImage(current.view, 0, 0);
  }
  const stop = picked ?? listedFirst();
  for (const item of $("garments").children) {
    const piece = current.picture.pieces[item.dataset.number - 1];
    item.classList.toggle("lit", piece === lit);
    item.setAttribute("aria-selected", String(piece === picked));
    item.tabIndex = piece === stop ? 0 : -1;
    if (piece === lit) bringIntoView(item);
  }
  const card = $("card");
  card.hidden = !lit;
  document.body.classList.toggle("sheet", Boolean(picked));
  if (!lit || card.dataset.number === String(lit.number)) return;
  card.dataset.number = lit.number;
  card.setAttribute("aria-label", `About ${lit.name}`);
  const parts = listed().filter((piece) => piece.parent === lit);
  fillCard(card, lit, parts, least(), {
    save: current.seen ? () => guarded(saveCutout(lit)) : null,
    pick: (part) => pick(part, true),
    close: () => pick(null),
  });
}

/** Scrolls the list, never the page. */
function bringIntoView(item) {
  const list = $("garments");
  const top = item.offsetTop - list.offsetTop, bottom = top + item.offsetHeight;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
}

const listedFirst = () => (current.picture ? listed()[0] : null); // an answer is there sooner than its picture

function pick(piece, focus = false) {
  picked = piece;
  hovered = null;
  light();
  if (piece && focus) $(`garment-${piece.number}`)?.focus();
}

function hover(piece) {
  if (piece === hovered) return;
  hovered = piece;
  light();
}

/** The thumbnails, where there are several photos. */
function strip() {
  const several = photos.filter((photo) => photo.small);
  $("strip").hidden = several.length < 2;
  const focused = [...$("strip").children].indexOf(document.activeElement);
  $("strip").replaceChildren(...several.map((photo) => {
    const name = photo.answer ? `${photo.name}, ${count(photo.answer.garments.length)}` : `${photo.name}, being read`;
    const button = make("button", { "aria-label": name, title: name, onclick: () => choose(photo) }, photo.small);
    if (photo === current) button.setAttribute("aria-current", "true");
    button.classList.toggle("waiting", !photo.answer);
    return button;
  }));
  $("strip").children[focused]?.focus();
}

function say(...words) {
  $("status").replaceChildren(...words);
}

// -- what is saved ----------------------------------------------------------------------------------------------

async function guarded(saving) {
  try {
    await saving;
  } catch (problem) {
    trouble(`It cannot be saved: ${problem.message}`);
  }
}

async function saveCutout(piece) {
  const { file, answer, name } = current;
  save(await cutout(file, answer, piece), cutoutName(stemOf(name), piece));
}

async function saveOverlay() {
  const { file, answer, name } = current;
  const numbers = listed().map((piece) => piece.number);
  save(await overlay(file, answer, numbers, layers()), `${stemOf(name)}.drawn.png`);
}

async function saveCutouts() {
  const { file, answer, name } = current;
  const files = [];
  for (const piece of listed().filter((each) => each.shape)) {
    files.push({ name: cutoutName(stemOf(name), piece), blob: await cutout(file, answer, piece) });
  }
  if (!files.length) throw new Error("no garment that is shown has a mask.");
  save(await zip(files), `${stemOf(name)}.cutouts.zip`);
}

function saveJson() {
  save(new Blob([current.text], { type: "application/json" }), `${stemOf(current.name)}.json`);
}

// -- what the user does -----------------------------------------------------------------------------------------

function listen() {
  takeIn(add, trouble);
  $("retry").onclick = again;
  $("dismiss").onclick = quiet;
  $("ask").onsubmit = (event) => {
    event.preventDefault();
    token.set($("token").value);
    $("ask").hidden = true;
    again();
  };
  $("layers").onchange = refresh;
  $("least").oninput = refresh;
  $("save-json").onclick = saveJson;
  $("save-overlay").onclick = () => guarded(saveOverlay());
  $("save-cutouts").onclick = () => guarded(saveCutouts());
  listenToGarments();
}

/** The piece under the mouse, or near the finger. */
function under(event) {
  const box = canvas.getBoundingClientRect(), picture = current?.picture;
  if (!picture) return null;
  const [across, down] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  return touched ? picture.near(across, down, (FINGER * current.view.width) / box.width) : picture.at(across, down);
}

/** Where the card lies over the page's lower half, the photo goes to its top. */
function seePhoto() {
  if (picked && getComputedStyle($("card")).position === "fixed") $("stage").scrollIntoView({ block: "start" });
}

function listenToGarments() {
  const list = $("garments");
  const pieceOf = (event) => current?.picture?.pieces[event.target.closest("li")?.dataset.number - 1] ?? null;
  canvas.onpointerdown = (event) => {
    touched = event.pointerType !== "mouse";
  };
  canvas.onpointermove = (event) => {
    touched = event.pointerType !== "mouse";
    if (!touched) hover(under(event));
  };
  canvas.onpointerleave = () => current && hover(null);
  canvas.onclick = (event) => {
    const piece = under(event);
    pick(piece === picked ? null : piece);
    seePhoto();
  };
  list.onpointerover = (event) => event.pointerType === "mouse" && hover(pieceOf(event));
  list.onpointerleave = () => current && hover(null);
  list.onclick = (event) => {
    if (!pieceOf(event)) return;
    pick(pieceOf(event), true);
    seePhoto();
  };
  list.addEventListener("focusin", (event) => pieceOf(event) !== picked && pick(pieceOf(event)));
  list.onkeydown = (event) => {
    const items = [...list.children], at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    items.at(to % items.length).focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && current?.picture) pick(null);
  });
  new ResizeObserver(() => current?.view && light()).observe(canvas);
}

listen();
const there = await health();
if (there) most = there.limits ?? {};
if (there?.token && !token.get()) askForToken();
