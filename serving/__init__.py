"""Bytes to predictions: `http` stands in front of `decoding`, `batching` and, behind that, `engines`."""

import os

# Read when ONNX Runtime is imported: it would report to its makers, and keep an identifier of this machine in the home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
