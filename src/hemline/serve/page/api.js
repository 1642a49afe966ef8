// What the page asks the server. Every failure is a Refusal: one sentence, and what can be done about it.

const KEY = "hemline-token";

export class Refusal extends Error {
  /**
   * @param {string} sentence what is wrong, in one sentence
   * @param {{token?: boolean, again?: boolean}} cure a token is needed; the same photo may succeed later
   */
  constructor(sentence, { token = false, again = false } = {}) {
    super(sentence);
    this.token = token;
    this.again = again;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  drop: () => sessionStorage.removeItem(KEY),
};

/** What /healthz says, or null where nobody answers. */
export async function health() {
  try {
    return await (await fetch("healthz", { cache: "no-store" })).json();
  } catch {
    return null;
  }
}

/**
 * Reads one photo.
 * @param {File} file
 * @returns {Promise<{answer: object, text: string}>} the photo's entry, and the whole JSON as it came
 * @throws {Refusal}
 */
export async function predict(file) {
  const form = new FormData();
  form.append("photo", file, file.name || "photo");
  const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  let response, text;
  try {
    response = await fetch("v1/predict?masks=png", { method: "POST", body: form, headers });
    text = await response.text();
  } catch {
    throw await unanswered(file);
  }
  if (!response.ok) throw refusal(response.status, errorIn(text));
  const entry = parsed(text)?.[0];
  if (!entry) throw new Refusal("The server's answer is not the JSON that was expected.");
  if (entry.error) throw new Refusal(entry.error);
  return { answer: entry, text };
}

async function unanswered(file) {
  if ((await health()) === null) {
    return new Refusal("The server does not answer: is hemline serve still running?", { again: true });
  }
  const size = (file.size / 1e6).toFixed(1);
  return new Refusal(`The server broke the upload off: this file of ${size} MB may be too large for it.`, { again: true });
}

function refusal(status, said) {
  if (status === 401 || status === 403) {
    const sentence = token.get() ? "The server does not accept this token." : "This server asks for a token.";
    return new Refusal(sentence, { token: true });
  }
  if (status === 413) return new Refusal(said || "The photo is too large for this server.");
  if (status === 429 || status === 503) return new Refusal(said || "The server is busy: try again soon.", { again: true });
  if (status >= 500) return new Refusal(said || `The server failed (status ${status}).`, { again: true });
  return new Refusal(said || `The server refused the photo (status ${status}).`);
}

function errorIn(text) {
  const said = parsed(text)?.error;
  return typeof said === "string" ? said : "";
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
