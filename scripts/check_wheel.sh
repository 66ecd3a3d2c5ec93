#!/bin/sh
# Makes a wheel, lets auditwheel look at it and name the Linux it runs on, and tries it in two
# new environments: with numpy alone, and with the extra [opus].  The result lies in dist/.
set -eu
bin=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/build/wheel
rm -rf "$work"
mkdir -p "$work" "$root/dist"

"$bin/pip" wheel --quiet --no-build-isolation --no-deps --wheel-dir "$work" "$root"
PATH="$bin:$PATH" "$bin/auditwheel" repair --wheel-dir "$root/dist" "$work"/*.whl 2>"$work/auditwheel.log" \
    || { cat "$work/auditwheel.log"; exit 1; }
wheel=$(ls -t "$root"/dist/*.whl | head -1)
"$bin/auditwheel" show "$wheel" >"$work/auditwheel.log"
echo "$wheel ($(du -k "$wheel" | cut -f1) KiB), consistent with" \
    "$(grep -o 'manylinux_[0-9a-z_]*' "$work/auditwheel.log" | head -1)"

for extra in "" "[opus]"; do
    "$bin/python" -m venv "$work/venv$extra"
    "$work/venv$extra/bin/pip" install --quiet "voicecore$extra @ file://$wheel"
    # From a folder without the sources, so that it is the wheel that is imported.
    (cd "$work" && "$work/venv$extra/bin/python" -I -m voicecore.info >/dev/null \
        && "$work/venv$extra/bin/python" -I "$root/scripts/wheel_smoke.py" "$extra")
done
