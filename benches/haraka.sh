#!/usr/bin/env bash
# A Haraka of its own in a scratch directory, to compare with: two workers, its outbound queue, which keeps each mail in a file. Needs
# node and npm; the first start installs the package into HARAKA_DIR (default ~/.cache/relevo-bench/haraka).
#   haraka.sh start DIR PORT NEXTHOST:NEXTPORT
#   haraka.sh stop DIR
set -eu
version=3.3.4
command=$1
dir=$(realpath -m "$2")
home=${HARAKA_DIR:-$HOME/.cache/relevo-bench/haraka}
case $command in
start)
  port=$3
  host=${4%:*}
  if ! grep -qs "\"version\": \"$version\"" "$home/node_modules/Haraka/package.json"; then
    mkdir -p "$home"
    (cd "$home" && npm install --no-audit --no-fund --no-save --omit=optional "Haraka@$version") >&2
  fi
  mkdir -p "$dir/config" "$dir/plugins" "$dir/queue"
  printf 'listen=127.0.0.1:%s\nnodes=2\n' "$port" >"$dir/config/smtp.ini"
  printf 'level=ERROR\n' >"$dir/config/log.ini"
  printf 'local_mx_ok=true\nenable_tls=false\n' >"$dir/config/outbound.ini"
  # Without this one of its own it has no greeting.
  cp "$home/node_modules/Haraka/config/connection.ini" "$dir/config/"
  echo "haraka.example" >"$dir/config/me"
  echo "bench" >"$dir/config/plugins"
  cat >"$dir/plugins/bench.js" <<JS
// Everybody may relay, and everything goes to one hop.
exports.hook_connect = (next, connection) => {
  connection.relaying = true
  next()
}
exports.hook_rcpt = (next) => next(OK)
exports.hook_get_mx = (next) => next(OK, { priority: 0, exchange: '$host', port: ${4##*:} })
JS
  node "$home/node_modules/Haraka/bin/haraka" -c "$dir" >"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then exit 0; fi
    sleep 0.1
  done
  tail -20 "$dir/log" >&2
  exit 1
  ;;
stop)
  pid=$(cat "$dir/pid")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || exit 0
    sleep 0.1
  done
  for child in $(cat /proc/"$pid"/task/*/children 2>/dev/null); do kill -9 "$child"; done
  kill -9 "$pid"
  ;;
esac
