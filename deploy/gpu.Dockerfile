# The image of `bentoml containerize`, and on top of it the CUDA libraries that ONNX Runtime loads: no toolkit, no CUDA base image.
#   docker build --build-arg IMAGE=cifar_classifier:cpu --tag cifar_classifier:gpu - < deploy/gpu.Dockerfile
ARG IMAGE=cifar_classifier:cpu
FROM ${IMAGE}
USER root
RUN uv pip install --require-hashes --requirement src/requirements/gpu.txt
USER bentoml
# Which parts of the driver the NVIDIA container runtime puts in, as no CUDA base image says it.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
