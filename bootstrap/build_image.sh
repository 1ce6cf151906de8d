#!/bin/sh
# Builds a target of the Dockerfile with the first engine that works here: docker, podman, buildah.
#   build_image.sh TARGET TAG [further arguments of the engine's build command]
# ENGINE names one, options included. PIP_CONF and CA name files that only the build sees: pip's
# configuration (a mirror, a proxy) and a certificate bundle (in PIP_CONF: cert = /run/secrets/ca).
# The manifest of an image that runs pipelines is left beside the build, build/TARGET.manifest.json.
cd "$(dirname "$0")/.." || exit 1
target=$1 tag=$2
shift 2

works() { # is it installed, and does it answer (the docker command may have no server)?
    case $1 in
        docker) docker version ;;
        podman) podman info ;;
        buildah) buildah --version ;;
    esac > /dev/null 2>&1
}

if [ -z "$ENGINE" ]; then
    for ENGINE in docker podman buildah none; do
        works "$ENGINE" && break
    done
fi
if [ "$ENGINE" = none ]; then
    echo "headrace: no container engine works here (tried docker, podman and buildah); install one:" \
        "apt-get install buildah (dnf install podman), or start Docker" >&2
    exit 1
fi
case $ENGINE in
    *docker*) set -- build "$@"; export DOCKER_BUILDKIT=1 ;;
    *podman*) set -- build --layers --format docker "$@" ;; # OCI's own format has no health check
    *) set -- bud --layers --format docker "$@" ;;
esac
revision=$(git rev-parse HEAD 2> /dev/null || echo unknown)
test -z "$(git status --porcelain -- . 2> /dev/null)" || revision=$revision+dirty
test -z "$PIP_CONF" || set -- "$@" --secret "id=pip,src=$PIP_CONF"
test -z "$CA" || set -- "$@" --secret "id=ca,src=$CA"
test -z "$BASE" || set -- "$@" --build-arg "BASE=$BASE"
test -z "$BEAM_SDK" || set -- "$@" --build-arg "BEAM_SDK=$BEAM_SDK"
echo "headrace: building $tag with ${ENGINE%% *}"
# shellcheck disable=SC2086 # here and below: the engine's own options are several words
$ENGINE "$@" --target "$target" --build-arg "REVISION=$revision" --tag "$tag" . || exit
test "$target" != serving || exit 0

manifest=build/$target.manifest.json
show="cat /opt/headrace/code/image.json"
mkdir -p build
# shellcheck disable=SC2086
case $ENGINE in
    *docker* | *podman*) $ENGINE run --rm --entrypoint "" "$tag" $show > "$manifest" ;;
    *) container=$($ENGINE from --pull-never "$tag") \
        && $ENGINE run "$container" -- $show > "$manifest" \
        && $ENGINE rm "$container" > /dev/null ;;
esac || {
    rm -f "$manifest"
    echo "headrace: $tag is built, but its manifest could not be read out of it" >&2
    exit 1
}
echo "headrace: $manifest is for vertex.image_manifest"
