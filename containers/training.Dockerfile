# Imports, trains, compares, watches; also the MLflow server. With torch for CPUs.
# docker build --file containers/training.Dockerfile --tag pointsman-training .
FROM python:3.13-slim AS build
# Linux wheels of torch on the public index bring CUDA. Name an index with CPU wheels to save some gigabytes:
# --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
WORKDIR /source
COPY pyproject.toml requirements-dev.txt README.md LICENSE ./
COPY pointsman pointsman
COPY router router
COPY training training
COPY data data
RUN python -m venv /opt/pointsman \
    && /opt/pointsman/bin/pip install --no-cache-dir --constraint requirements-dev.txt '.[train,litellm,postgres,s3,gcs]'

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home pointsman && install --directory --owner 10001 /state
COPY --from=build /opt/pointsman /opt/pointsman
ENV PATH=/opt/pointsman/bin:$PATH \
    HOME=/state \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Every write goes below /state (caches, runs, routers) and /tmp, so the root file system can be read-only.
VOLUME /state
WORKDIR /state
USER 10001
EXPOSE 5000
CMD ["pointsman", "--help"]
