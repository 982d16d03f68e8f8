"""One command for each kind of request, to be copied into a terminal beside a picture called cat.png."""

from typing import Any

from serving.decoding.media_types import FORM, JSON, PICTURES, RAW
from serving.decoding.pictures import IMAGE_BYTES

ADDRESS = "http://localhost:3000"  # the page writes its own in its place
PICTURE = "cat.png"

_CLASSIFY = f"{ADDRESS}/classify"


def classify_samples() -> list[dict[str, Any]]:
    """One for each kind of body; the label is what a reader would call it."""
    commands = {
        PICTURES[0]: (f"curl '{_CLASSIFY}?top_k=3' \\\n    -H 'Content-Type: {PICTURES[0]}' --data-binary @{PICTURE}"),
        FORM: f"curl -F images=@{PICTURE} -F images=@{PICTURE} '{_CLASSIFY}?top_k=3'",
        JSON: (
            f"""printf '{{"images": ["%s"], "top_k": 3}}' "$(base64 < {PICTURE} | tr -d '\\n')" |\n"""
            f"    curl '{_CLASSIFY}' \\\n"
            f"    -H 'Content-Type: {JSON}' --data-binary @-"
        ),
        RAW: (
            f"head -c {2 * IMAGE_BYTES} /dev/zero |\n"
            f"    curl '{_CLASSIFY}?top_k=3' \\\n"
            f"    -H 'Content-Type: {RAW}' --data-binary @-"
        ),
    }
    return [{"lang": "Shell", "label": label, "source": command} for label, command in commands.items()]


def get_samples(path: str) -> list[dict[str, Any]]:
    return [{"lang": "Shell", "label": "curl", "source": f"curl '{ADDRESS}{path}'"}]


def with_key(found: dict[str, Any]) -> dict[str, Any]:
    """The same command for a server that wants a key."""
    return {**found, "source": found["source"].replace("curl ", 'curl -H "Authorization: Bearer $API_KEY" ')}
