# qdq in an image: docker build -t qdq . && docker run --rm -v "$PWD:/models" qdq inspect model.onnx
# The release checklist (docs/releasing.md) pins the digest of this tag as well.
ARG PYTHON=python:3.12.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /source
COPY docker/requirements.txt ./
RUN python -m venv /opt/qdq \
    && /opt/qdq/bin/pip install --no-cache-dir --only-binary=:all: -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY calibrators calibrators
COPY qdq_cli qdq_cli
RUN /opt/qdq/bin/pip install --no-cache-dir --no-deps .

FROM ${PYTHON}
LABEL org.opencontainers.image.title="qdq" \
      org.opencontainers.image.description="Post-training quantization of ONNX models for TensorRT, on a CPU" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --create-home qdq
COPY --from=build /opt/qdq /opt/qdq
ENV PATH=/opt/qdq/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/tmp/numba
USER 10001
WORKDIR /models
ENTRYPOINT ["qdq"]
CMD ["--help"]
