#!/bin/sh
# Makes .venv right, or finds that it is: the first step of every make target that runs Python.
# A right environment answers for itself; only a missing or stale one needs a Python from outside,
# which is $PYTHON, or the first of those below that is a CPython this project runs on.
cd "$(dirname "$0")/.." || exit 1
unset PYTHONHOME PYTHONPATH

if [ -z "$PYTHON" ]; then
    [ "$#" = 0 ] && .venv/bin/python -ESB -m bootstrap check 2>/dev/null && exit 0
    pyenv=${PYENV_ROOT:-$HOME/.pyenv}/versions
    candidates="python3 python3.13 python3.12 python3.11 python \
        $pyenv/3.13.*/bin/python3 $pyenv/3.12.*/bin/python3 $pyenv/3.11.*/bin/python3"
else
    candidates=$PYTHON
fi

# A pyenv shim without a chosen version is on PATH and does not run: so each is asked by running it.
probe='import sys
sys.stdout.write("%d.%d.%d" % sys.version_info[:3])
sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'
found=
for candidate in $candidates; do
    if version=$("$candidate" -ES -c "$probe" 2>/dev/null); then
        exec "$candidate" -ESB -m bootstrap "$@"
    fi
    case $version in
        ?*) found="${found:+$found, }$candidate is $version" ;;
    esac
done
echo "headrace: this needs Python 3.11, 3.12 or 3.13 (${found:-none found}); install one, or name" \
    "one: make run PYTHON=/path/to/python3.12" >&2
exit 1
