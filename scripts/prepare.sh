#!/bin/sh
# Makes the virtual environment; says which package mends what is missing.
set -eu
venv=${1:-.venv}

fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'
python=
# 3.12 last: one of the embedded engines has to be compiled there.
for one in "${PYTHON:-}" python3.11 python3.13 python3 python3.12; do
    if [ -n "$one" ] && "$one" -c "$fits" 2>/dev/null; then python=$one; break; fi
done
if [ -z "$python" ]; then
    echo "voicecore needs Python 3.11, 3.12 or 3.13 (set PYTHON=… if it is not on the PATH)." >&2
    echo "  Debian, Ubuntu: sudo apt install python3 python3-venv python3-dev" >&2
    exit 1
fi

short=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
if ! command -v "${CC:-cc}" >/dev/null 2>&1 && ! command -v gcc >/dev/null 2>&1; then
    echo "There is no C compiler.  Debian, Ubuntu: sudo apt install build-essential" >&2
    exit 1
fi
if ! "$python" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))'; then
    echo "Python's headers are missing.  Debian, Ubuntu: sudo apt install $short-dev" >&2
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "Python's venv module is missing.  Debian, Ubuntu: sudo apt install $short-venv" >&2
    exit 1
fi

echo "making $venv with $("$python" --version)"
"$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --upgrade pip
