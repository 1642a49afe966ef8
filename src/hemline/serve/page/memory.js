// What of a photo is held in memory: a thumbnail of each, the pixels and garments of the few that were shown last.

import { Picture, scaled, viewScale } from "./picture.js";

const KEPT = 4;       // photos whose pixels are held; the others are decoded again when they are chosen
const SMALL_SIDE = 96; // of a thumbnail

let opening = Promise.resolve();
let held = []; // the photo shown last comes first

/**
 * Looks at a photo, after those before it: one large decoded photo at a time.
 * @returns {Promise<boolean>} false where this browser cannot show it
 */
export function open(photo) {
  opening = opening.then(async () => {
    try {
      const bitmap = await createImageBitmap(photo.file);
      photo.size = { width: bitmap.width, height: bitmap.height };
      photo.small = thumbnail(bitmap, photo.size);
      bitmap.close();
      photo.seen = true;
    } catch {
      photo.seen = false;
    }
    return photo.seen;
  });
  return opening;
}

/** Whether a photo can be shown at once. */
export const ready = (photo) => Boolean(photo.answer ? photo.picture : photo.view);

/** Whether one more photo can be held without another having to go. */
export const room = () => held.length < KEPT;

/**
 * Decodes what showing a photo takes, where it is not there already: `view`, and once it is answered `picture`.
 * @param {object} photo
 * @param {?object} current the photo on the page, which stays in memory
 */
export async function prepare(photo, current) {
  const { answer } = photo;
  if (!ready(photo)) {
    const size = answer?.size ?? photo.size, scale = viewScale(size.width, size.height);
    const fits = photo.size?.width === size.width && photo.size.height === size.height;
    let view = fits ? photo.view : null;
    if (!view) {
      const bitmap = photo.seen ? await createImageBitmap(photo.file) : null;
      view = scaled(bitmap, size, scale);
      bitmap?.close();
    }
    if (answer) photo.picture = await Picture.of(view, answer, scale);
    photo.small ??= thumbnail(view, size);
    photo.view = view;
  }
  hold(photo, current);
}

/** Notes that a photo was used last, and lets go of the pixels of those that were not for long. */
export function hold(photo, current) {
  held = [photo, ...held.filter((other) => other !== photo)];
  const gone = held.filter((other) => other !== current && other !== photo).slice(KEPT - 2);
  for (const other of gone) other.view = other.picture = null;
  held = held.filter((other) => !gone.includes(other));
}

/** Lets go of a photo. */
export function forget(photo) {
  held = held.filter((other) => other !== photo);
}

function thumbnail(image, size) {
  return scaled(image, size, SMALL_SIDE / Math.max(size.width, size.height));
}
