#!/bin/sh
# Builds the native modules with $VOICECORE_BUILD in a copy of the tree and tests them there,
# so that the build in use is not touched.
set -eu
bin=$(cd "$1" && pwd)
tests=$2
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$root/build/$VOICECORE_BUILD
mkdir -p "$copy"
for part in setup.py pyproject.toml README.md LICENSE src tests bench; do
    rm -rf "${copy:?}/$part"
    cp -r "$root/$part" "$copy/$part"
done
find "$copy/src" -name '*.so' -delete
cd "$copy"
"$bin/python" setup.py --quiet build_ext --inplace
if [ "$VOICECORE_BUILD" = asan ]; then
    LD_PRELOAD=$("${CC:-gcc}" -print-file-name=libasan.so)
    # The interpreter's own arenas look like leaks; what we free is tested by counting.
    ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    PYTHONMALLOC=malloc
    # Inputs of the fuzz; the unit tests on their own try a few.
    VOICECORE_FUZZ="${VOICECORE_FUZZ:-2000000}"
    export LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS PYTHONMALLOC VOICECORE_FUZZ
fi
export VOICECORE_CASES="${VOICECORE_CASES:-$root/../shared/cases}"
PYTHONPATH=$copy/src exec "$bin/python" -m pytest "$tests" -q -rR -m "not isa" -p no:cacheprovider \
    --numprocesses=auto --maxprocesses=4 --dist=worksteal
