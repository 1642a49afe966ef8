# `hemline serve` on a CPU, without torch; docs/deploy.md says how to run it.
#
#     docker build --tag hemline .
#     docker run --rm --publish 127.0.0.1:8000:8000 hemline
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG PYTHON
# hadolint ignore=DL3013
RUN pip install --no-cache-dir uv
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY heads heads
COPY configs configs
RUN uv build --wheel --out-dir /dist
RUN uv venv --python "$(command -v python)" /opt/hemline \
 && uv pip install --no-cache --compile-bytecode --python /opt/hemline \
      "hemline[serve] @ file://$(echo /dist/hemline-*.whl)"
# What a CPU never loads: OpenVINO's plugins for GPUs and NPUs, and all of matplotlib but the demo photo. Then a photo is
# read, so that no image is made that cannot answer.
WORKDIR /opt/hemline/lib/python${PYTHON}/site-packages
RUN rm -f openvino/libs/libopenvino_intel_gpu_* openvino/libs/libopenvino_intel_npu_* openvino/libs/cache.json \
 && find matplotlib -type f ! -name grace_hopper.jpg -delete \
 && find matplotlib -type d -empty -delete \
 && uv pip uninstall --python /opt/hemline contourpy cycler fonttools kiwisolver pyparsing python-dateutil six \
 && /opt/hemline/bin/hemline predict --demo --json > /dev/null

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="Hemline" \
      org.opencontainers.image.description="Reads photos of clothes: a page to try it, and an HTTP API" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/hemline /opt/hemline
# Without the threshold, glibc keeps what large photos took: gigabytes.
ENV PATH=/opt/hemline/bin:$PATH \
    MALLOC_MMAP_THRESHOLD_=1000000 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HEMLINE_HOST=0.0.0.0 \
    PORT=8000
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", \
  "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["hemline", "serve"]
