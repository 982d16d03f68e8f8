"""What a CIFAR-10 classifier is: labels, data, architectures, checkpoint, bundle. Every other package builds on it."""

import os

# Read when onnxruntime is loaded: from 1.29 on it would send Microsoft events about every model and process, and keep
# them in the user's home until it can.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
