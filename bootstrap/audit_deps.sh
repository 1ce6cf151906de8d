#!/bin/sh
# The packages of the images against the known vulnerabilities, by pip-audit:
#   audit_deps.sh [further options of pip-audit]
# Exit code 1 if a package has one, 2 if that cannot be found out.
cd "$(dirname "$0")/.." || exit 2
mkdir -p build
code=0
for name in pipeline server; do
    log=build/audit-$name.log
    if sh bootstrap/ensure.sh tool pip-audit==2.10.1 pip-audit --strict --require-hashes \
        --disable-pip "$@" --requirement "bootstrap/$name.lock" 2> "$log"; then
        echo "bootstrap/$name.lock: $(tail -n 1 "$log")"
    elif grep -q '^Found .* known vulnerabilit' "$log"; then
        grep '^Found .* known vulnerabilit' "$log" >&2
        code=1
    else
        echo "headrace: the database of vulnerabilities could not be asked, so nothing is known of" \
            "bootstrap/$name.lock ($(tail -n 1 "$log" | cut -c 1-200)). Run this where PyPI's JSON" \
            "API can be reached, or ask another database:" \
            "make audit-deps ARGS=\"--vulnerability-service osv\" (details: $log)" >&2
        exit 2
    fi
done
exit $code
