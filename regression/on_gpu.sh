#!/usr/bin/env bash
# What a GPU is asked, unattended, in the order of the arguments: PART=SECONDS, each with a limit of its own.
#   golden   how far the references drift from the record there   drift-cuda.csv, errors-cuda.csv
#   dropin   lossref validate dropin --device cuda                dropin.csv, dropin.jsonl
#   package  the same for the installed ultralytics               package.csv
#   ratios   make ratios-cuda                                     ratios-cuda.csv
# OUT names the folder of the results (log, and those files), WHL one of wheels that are installed first, without an
# index; DEVICE=cpu SMALL=--small tries all of it where there is no GPU.
set -u
: "${OUT:?the folder of the results}"
device=${DEVICE:-cuda} jobs=${JOBS:-14} python=${PYTHON:-python3} work=${WORK:-/tmp/lossref-on-gpu}
mkdir -p "$OUT" "$work"
exec > >(tee -a "$OUT/log") 2>&1
if [ -n "${WHL:-}" ]; then
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site "$WHL"/*.whl || exit
  export PYTHONPATH=/tmp/site
fi
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 YOLO_AUTOINSTALL=false YOLO_CONFIG_DIR=$work
export XDG_CACHE_HOME=$work/cache COLUMNS=170
"$python" -c "import sys, torch, ultralytics, lossref
print('python', sys.version.split()[0], 'torch', torch.__version__, 'ultralytics', ultralytics.__version__)
print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'no CUDA')" || exit

validated() {  # TARGET LIMIT FILE: what was told so far is kept when the limit comes
  timeout -s INT -k 15 "$2" "$python" -m lossref validate "$1" ${ARGS:-} --device "$device" --jobs "$jobs" \
    --out "$work/$1" > "$work/$1.log" 2>&1
  echo "$1: exit status $? of lossref validate"
  tail -n 40 "$work/$1.log" | cut -c 1-220
  cp "$work/$1/summary.csv" "$OUT/$3.csv"
}

for part in "$@"; do
  name=${part%%=*} limit=${part#*=} begin=$SECONDS
  echo "== $name, at most $limit s"
  case $name in
    golden) timeout -k 15 $((limit + 20)) "$python" regression/drift.py --device "$device" --jobs "$jobs" --limit-s "$limit" \
      --out "$OUT" ${SPECS:-} ;;
    dropin) validated dropin "$limit" dropin; cp "$work/dropin/verdicts.jsonl" "$OUT/dropin.jsonl" ;;
    package) validated ultralytics "$limit" package ;;
    ratios) timeout -k 15 $((limit + 45)) "$python" regression/ratios --device "$device" --csv "$OUT/ratios-$device.csv" \
      --limit-s "$limit" --jobs "$jobs" ${SMALL:-} ${RATIOS:-} ;;
    *) echo "no part $name: golden, dropin, package, ratios" ;;
  esac
  echo "== $name: status $?, $((SECONDS - begin)) s"
done
