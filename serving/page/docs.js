// The server's own address in the commands, and a button to copy each. Without this the page says the same.

import { copyOrSelect } from "./element.js";

const here = location.href.split(/[?#]/)[0].replace(/\/docs\/?$/, "");
const main = document.querySelector("main");
const said = document.querySelector("#said");

for (const sample of document.querySelectorAll(".sample")) {
  const code = sample.querySelector("code");
  const button = sample.querySelector("button");
  code.textContent = code.textContent.replaceAll(main.dataset.address, here);
  button.hidden = !navigator.clipboard; // browsers have one at https and localhost only
  button.onclick = async () => {
    const what = button.getAttribute("aria-label").replace(/^Copy /, "");
    said.textContent = ""; // the same words a second time would not be read out
    const copied = await copyOrSelect(code);
    said.textContent = copied ? `Copied: ${what}` : `Selected: ${what}. Copy it with your keyboard.`;
    if (!copied) return;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
}
