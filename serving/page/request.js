// The request that the page makes, as code to copy.

import { copyOrSelect, find } from "./element.js";

const code = find("code");
const copy = find("copy");
const languages = document.querySelectorAll("[name=language]");

const WRITERS = {
  curl: (url, withKey) => [
    "curl -F images=@picture.png \\",
    ...(withKey ? ['    -H "Authorization: Bearer $API_KEY" \\'] : []),
    `    '${url}'`,
  ],
  python: (url, withKey) => [
    ...(withKey ? ["import os", ""] : []),
    "import httpx",
    "",
    'with open("picture.png", "rb") as picture:',
    "    response = httpx.post(",
    `        "${url}",`,
    '        files={"images": picture},',
    ...(withKey ? ['        headers={"Authorization": f"Bearer {os.environ[\'API_KEY\']}"},'] : []),
    "    )",
    "response.raise_for_status()",
    'print(response.json()["predictions"][0]["label"])',
  ],
  javascript: (url, withKey) => [
    'import { openAsBlob } from "node:fs";',
    "",
    "const body = new FormData();",
    'body.append("images", await openAsBlob("picture.png"));',
    "const response = await fetch(",
    `  "${url}",`,
    withKey
      ? '  { method: "POST", body, headers: { Authorization: `Bearer ${process.env.API_KEY}` } },'
      : '  { method: "POST", body },',
    ");",
    "const answer = await response.json();",
    "if (!response.ok) throw new Error(answer.error.message);",
    "console.log(answer.predictions[0].label);",
  ],
};

let shown = { model: "", withKey: false };

/** Write the request for the bundle `model` ("" for the default one), with or without an API key. */
export function showRequest(wanted) {
  shown = wanted;
  const url = new URL("classify", location.href);
  url.search = shown.model ? new URLSearchParams({ model: shown.model }) : "";
  url.hash = "";
  code.textContent = WRITERS[document.querySelector("[name=language]:checked").value](url.href, shown.withKey).join("\n");
}

/** `say` is told what was done. */
export function startRequest(say) {
  for (const language of languages) language.onchange = () => showRequest(shown);
  copy.onclick = async () => {
    say(await copyOrSelect(code) ? "Copied." : "Selected. Copy it with your keyboard.");
  };
}
