// Files from wherever they come: chosen, taken, dropped or pasted.

import { find } from "./element.js";

/** Call `take` with each lot of files. */
export function startIntake(take) {
  for (const input of [find("files"), find("camera")]) {
    input.onchange = () => {
      take([...input.files]);
      input.value = ""; // so that the same file may be chosen again
    };
  }
  document.onpaste = (event) => takeFrom(event.clipboardData, event);
  document.ondragover = (event) => {
    event.preventDefault();
    highlight(true);
  };
  document.ondragleave = (event) => { if (!event.relatedTarget) highlight(false); };
  document.ondrop = (event) => {
    highlight(false);
    if (!isText(event.dataTransfer, event)) event.preventDefault(); // a browser would open what was dropped
    takeFrom(event.dataTransfer, event);
  };

  function takeFrom(data, event) {
    if (data.files.length === 0 || isText(data, event)) return;
    event.preventDefault();
    take([...data.files]);
  }
}

/** Whether it is a text for the field of the key: spreadsheets put a picture of the cell beside it. */
const isText = ({ types }, { target }) => target === find("key-text") && types.includes("text/plain");

const highlight = (on) => document.body.classList.toggle("over", on);
