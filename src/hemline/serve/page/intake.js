// How photos come in: chosen, taken, pasted, dropped, or a sample.

const $ = (id) => document.getElementById(id);

/**
 * @param {(files: File[]) => void} add what is done with photos
 * @param {(sentence: string) => void} trouble says what went wrong
 */
export function takeIn(add, trouble) {
  $("choose").onclick = () => $("files").click();
  $("take").onclick = () => $("camera").click();
  for (const input of [$("files"), $("camera")]) {
    input.onchange = () => {
      add([...input.files]);
      input.value = ""; // the same file may be chosen again
    };
  }
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (!files.length) return;
    event.preventDefault();
    add(files);
  });
  const dragging = (is) => document.body.classList.toggle("dragging", is);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    dragging(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || dragging(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(false);
    const files = [...event.dataTransfer.files];
    if (files.length) add(files);
    else trouble("That is no file: save the photo first, then drop its file here.");
  });
  for (const button of document.querySelectorAll(".sample")) {
    const image = button.querySelector("img");
    image.onerror = () => button.remove();
    if (image.complete && !image.naturalWidth) button.remove();
    button.onclick = async () => {
      const file = await sample(button.dataset.photo);
      if (file) add([file]);
      else trouble("The sample cannot be loaded: is hemline serve still running?");
    };
  }
}

async function sample(address) {
  try {
    const response = await fetch(address);
    return response.ok ? new File([await response.blob()], address.split("/").at(-1)) : null;
  } catch {
    return null;
  }
}
