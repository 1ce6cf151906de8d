# The images. `make image [TARGET=serving]` builds one with docker, podman or buildah.
#   pipeline  what Vertex AI runs each component in: TFX and this project's packages, no data
#   worker    the same, started by Beam's own boot program: the SDK container of Dataflow
#   serving   the embedded model server, without TFX
# Layers go from what seldom changes to what often does: system, packages (a lock), code. The last
# stages have no compiler, no pip and no shell history of the others. serving/deploy/image.md has
# sizes and times.

# TFX 1.21 needs glibc 2.39. Debian 13 has it, and Python 3.13; python:3.11-slim-trixie and its
# like bring another Python, for who submits Beam jobs from one (both ends must be equal).
ARG BASE=debian:trixie-slim
# Of the same Python and Beam as below.
ARG BEAM_SDK=apache/beam_python3.13_sdk:2.77.0


FROM ${BASE} AS base
ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1
# Debian keeps one version of a package only, so none can be pinned: the base image's digest can.
# hadolint ignore=DL3008
RUN command -v python3 > /dev/null || python=python3 \
 && apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates ${python:+"$python"} \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home headrace


FROM base AS tools
# hadolint ignore=DL3008
RUN test -x /usr/local/bin/python3 || python=python3 \
 && apt-get update \
 && apt-get install --yes --no-install-recommends g++ ${python:+"$python-dev" "$python-venv"} \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY bootstrap/__init__.py bootstrap/index.py bootstrap/console.py bootstrap/image.py bootstrap/tools.lock bootstrap/


# A mirror, a proxy or a certificate that pip needs goes into these two secrets, and stays out of
# the image: --secret id=pip,src=pip.conf --secret id=ca,src=ca.pem (with cert = /run/secrets/ca).
FROM tools AS server-packages
COPY bootstrap/server.lock bootstrap/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    --mount=type=cache,target=/root/.cache/uv \
    python3 -m bootstrap.image bootstrap/server.lock /opt/headrace/venv


FROM server-packages AS pipeline-packages
COPY bootstrap/pipeline.lock bootstrap/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    --mount=type=cache,target=/root/.cache/uv \
    python3 -m bootstrap.image bootstrap/pipeline.lock /opt/headrace/venv


# What the last stages have beside code, without the tools. `COPY --from` would say the same, but
# buildah then copies gigabytes on every build, only to see that it need not have. `built` is new
# whenever the packages are: some engines do not look at what a mounted stage holds.
FROM base AS server-base
COPY --from=server-packages /opt/headrace/built /opt/headrace/
RUN --mount=type=bind,from=server-packages,source=/opt/headrace,target=/mnt \
    cp -a /mnt/venv /opt/headrace/


FROM base AS pipeline-base
COPY --from=pipeline-packages /opt/headrace/built /opt/headrace/
RUN --mount=type=bind,from=pipeline-packages,source=/opt/headrace,target=/mnt \
    cp -a /mnt/venv /opt/headrace/


FROM server-packages AS code
WORKDIR /build
COPY setup.py ./
COPY models models
COPY serving serving
COPY pipeline pipeline
RUN tools/bin/uv pip install --offline --no-cache --no-deps --no-build-isolation \
      --python /opt/headrace/venv/bin/python --target /opt/headrace/code . \
 && python3 -m compileall -q /opt/headrace/code


FROM server-base AS serving
COPY --from=code /opt/headrace/code/serving /opt/headrace/code/serving
ENV PATH=/opt/headrace/venv/bin:$PATH MODEL_BASE_PATH=/models MODEL_NAME=model
USER 10001:10001
WORKDIR /home/headrace
EXPOSE 8500 8501
# HTTP 200 alone does not say that a model is loaded.
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s \
  CMD ["bash", "-c", "exec bash /opt/headrace/code/serving/deploy/probe.sh \"$MODEL_NAME\""]
# `exec`, so that the server itself gets the signal to drain and end.
ENTRYPOINT ["sh", "-c", "exec python -m serving --port=8500 --rest_api_port=8501 --model_name=\"$MODEL_NAME\" --model_base_path=\"$MODEL_BASE_PATH/$MODEL_NAME\" \"$@\"", "serving"]
ARG REVISION=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="headrace-serving" \
      org.opencontainers.image.description="Model server with the interface of TensorFlow Serving, for development and small loads" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


FROM pipeline-base AS pipeline
ENV PATH=/opt/headrace/venv/bin:$PATH
COPY --from=code /opt/headrace/code /opt/headrace/code
COPY bootstrap/pipeline.lock /opt/headrace/code/bootstrap/
ARG REVISION=unknown
# Our commands are looked for beside Python.
RUN ln -s /opt/headrace/code/bin/* /opt/headrace/venv/bin/ \
 && python -m pipeline.vertex.lint.image "$REVISION" > /opt/headrace/code/image.json
USER 10001:10001
WORKDIR /home/headrace
# A batch job answers no questions; whether it lives, its exit code says.
HEALTHCHECK NONE
# Vertex gives the whole command, `python -m tfx…`; by hand: `docker run … headrace run`.
CMD ["headrace", "--help"]
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="headrace-pipeline" \
      org.opencontainers.image.description="Headrace on TFX 1.21: components as Vertex AI runs them, and the command line" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


FROM ${BEAM_SDK} AS beam-sdk


FROM pipeline AS worker
COPY --from=beam-sdk /opt/apache/beam/boot /opt/apache/beam/boot
# Dataflow mounts folders of root's into its workers; Beam's own images run as root too.
# hadolint ignore=DL3002
USER 0:0
ENTRYPOINT ["/opt/apache/beam/boot"]
CMD []
