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
    takeFrom(event.dataTransfer, event);
    event.preventDefault(); // a browser would open what was dropped
  };

  function takeFrom({ files }, event) {
    if (files.length === 0) return; // a text, perhaps into the field of the key
    event.preventDefault();
    take([...files]);
  }
}

const highlight = (on) => document.body.classList.toggle("over", on);
