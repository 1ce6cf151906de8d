#!/bin/bash
# Is the model ready? Exit 0: at least one version is AVAILABLE. HTTP 200 alone does not say so:
# the server answers it while a model loads, and after it failed to. The image has bash and no curl.
# usage: probe.sh MODEL [PORT]
model=${1:?usage: probe.sh MODEL [PORT]}
port=${2:-8501}
exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
printf 'GET /v1/models/%s HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$model" >&3
while IFS= read -r -t 3 line <&3 || [[ -n $line ]]; do
  [[ $line =~ \"state\":\ *\"AVAILABLE\" ]] && exit 0
done
exit 1
