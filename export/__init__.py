"""A checkpoint to a bundle, proven equal to it."""

import os

# Read when torch loads its OpenMP: threads that wait shall sleep. Spinning gains nothing here, and where another
# program wants a core it made training ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Read when ONNX Runtime is imported: it would report to its makers, and keep an identifier of this machine in the home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
