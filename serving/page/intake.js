// Files from wherever they come: chosen, taken, dropped or pasted.

import { find } from "./element.js";

const notTaken = find("not-taken");

/** Call `take` with each lot of files; why something else is not taken is shown, and told to `say`. */
export function startIntake({ take, say }) {
  for (const input of [find("files"), find("camera")]) {
    input.onchange = () => {
      takeAll(input.files);
      input.value = ""; // so that the same file may be chosen again
    };
  }
  document.onpaste = (event) => {
    if (event.clipboardData.files.length > 0) takeFrom(event.clipboardData, event);
  };
  document.ondragover = (event) => {
    event.preventDefault();
    highlight(event.dataTransfer.types.includes("Files"));
  };
  document.ondragleave = (event) => { if (!event.relatedTarget) highlight(false); };
  document.ondrop = (event) => {
    highlight(false);
    takeFrom(event.dataTransfer, event);
  };

  function takeFrom({ files, types }, event) {
    // A text for the field of the key is left to it: spreadsheets put a picture of the cell beside it.
    if (event.target === find("key-text") && types.includes("text/plain")) return;
    event.preventDefault(); // a browser would open what was dropped
    if (files.length > 0) takeAll(files);
    else refuse("Only files can be dropped here.");
  }

  function takeAll(files) {
    notTaken.textContent = "";
    take([...files]);
  }

  function refuse(why) {
    notTaken.textContent = why;
    say(why);
  }
}

const highlight = (on) => document.body.classList.toggle("over", on);
