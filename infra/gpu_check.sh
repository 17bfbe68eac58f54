#!/usr/bin/env bash
# Checks and measures passtream on a machine that has a GPU, torch, torchaudio, numpy and pytest:
#
#     infra/gpu_check.sh [--device cuda|cpu] [--quick] OUT [WHEELS]
#
# OUT      folder for the results; results of an earlier check in it are replaced
# WHEELS   folder with a wheel of hear21passt, the reference; without it, only passtream is measured
# --quick  one repeat of each measurement, and no GPU tests: under four minutes
#
# Each step has its own time limit, seven minutes for all of them. A step writes its result as soon as
# it has one, and the next step runs even if a step has failed. The most important steps run first. At
# the end, the results are summarized in table.md.
set -uo pipefail
called_from=$PWD
cd "$(dirname "$0")/.."

device=cuda quick='' folders=()
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=${2:?--device takes cuda or cpu}; shift ;;
        --quick) quick=1 ;;
        -*) echo "gpu_check.sh: no such option: $1" >&2; exit 2 ;;
        *) folders+=("$1") ;;
    esac
    shift
done
if [ "${#folders[@]}" -lt 1 ]; then
    echo "usage: infra/gpu_check.sh [--device cuda|cpu] [--quick] OUT [WHEELS]" >&2
    exit 2
fi
out=$(cd "$called_from" && realpath -m "${folders[0]}")
wheels=${folders[1]:+$(cd "$called_from" && realpath -m "${folders[1]}")}
python=${PYTHON:-python3}
mkdir -p "$out"
rm -f "$out"/{log,versions,tests}.txt "$out"/{windows,cases,kernels,rest}.jsonl "$out/table.md"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PASSTREAM_CACHE=$work/cache PYTHONUNBUFFERED=1 PYTHONPATH=$PWD:$work/site

# step NAME SECONDS FILE COMMAND...: runs a command; stdout goes to FILE, stderr to log.txt
step() {
    local name=$1 limit_s=$2 file=$3 started=$SECONDS code
    shift 3
    timeout -k 5 "$limit_s" "$@" >"$out/$file" 2>>"$out/log.txt"
    code=$?
    echo "$name: exit code $code after $((SECONDS - started)) of $limit_s s" | tee -a "$out/log.txt"
}

bench() {
    local name=$1 limit_s=$2 file=$3
    shift 3
    step "$name" "$limit_s" "$file" "$python" -m jobs.bench.model --device "$device" --json "$@"
}

reference=()
if ls "$wheels"/hear21passt*.whl >/dev/null 2>&1; then
    "$python" -m pip install -q --no-index --no-deps --target "$work/site" "$wheels"/*.whl \
        >>"$out/log.txt" 2>&1 && reference=(--against hear21passt)
fi
if [ -n "$wheels" ] && [ "${#reference[@]}" -eq 0 ]; then
    echo "no reference: hear21passt cannot be installed from $wheels" | tee -a "$out/log.txt"
fi
step versions 30 versions.txt "$python" infra/gpu_versions.py
if [ -n "$quick" ]; then
    # On a CPU the check only shows that every step runs, so the cheapest arch is enough.
    arch=() length=()
    [ "$device" = cuda ] || arch=(--arch passt_s_p16_s16_128_ap468) length=(--lengths 1)
    bench windows 70 windows.jsonl --cases windows --precisions bf16 --repeats 1 \
        "${arch[@]}" "${length[@]}" "${reference[@]}"
    bench kernels 50 kernels.jsonl --cases kernels "${arch[@]}"
    [ "$device" = cpu ] || bench cases 60 cases.jsonl --cases timestamps,mix,long --repeats 1
else
    bench windows 80 windows.jsonl --cases windows --precisions bf16 "${reference[@]}"
    step tests 120 tests.txt env OMP_NUM_THREADS=4 PASSTREAM_GPU_TESTS_ON="$device" \
        "$python" -m pytest -c /dev/null --rootdir . -W default -q -m gpu -n 4 --durations=5 \
        -p no:cacheprovider tests/models/test_gpu.py tests/models/test_gpu_engine.py \
        tests/models/passt/test_kernels.py
    bench cases 60 cases.jsonl --cases timestamps,mix,long --repeats 2 "${reference[@]}"
    bench kernels 40 kernels.jsonl --cases kernels
    bench rest 80 rest.jsonl --cases windows,memory --precisions fp16,tf32,fp32
fi
"$python" infra/gpu_table.py "$out" | tee "$out/table.md"
