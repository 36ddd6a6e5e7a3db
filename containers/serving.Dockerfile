# Serves decisions: the LiteLLM proxy with the router's plugin, and the dashboard. Without torch.
# docker build --file containers/serving.Dockerfile --tag pointsman .
FROM python:3.13-slim AS build
# An index of your own: --build-arg PIP_INDEX_URL=...
ARG PIP_INDEX_URL
WORKDIR /source
COPY pyproject.toml requirements-dev.txt README.md LICENSE ./
COPY pointsman pointsman
COPY router router
COPY training training
COPY data data
RUN python -m venv /opt/pointsman \
    && /opt/pointsman/bin/pip install --no-cache-dir --constraint requirements-dev.txt '.[proxy,registry,postgres,dashboard]'

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home pointsman && install --directory --owner 10001 /state
COPY --from=build /opt/pointsman /opt/pointsman
ENV PATH=/opt/pointsman/bin:$PATH \
    HOME=/state \
    LITELLM_LOCAL_MODEL_COST_MAP=True \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Every write goes below /state (copies of registered routers) and /tmp, so the root file system can be read-only.
VOLUME /state
WORKDIR /state
USER 10001
EXPOSE 4000 8321
CMD ["pointsman", "--help"]
