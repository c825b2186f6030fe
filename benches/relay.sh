#!/usr/bin/env bash
# The relay beside smtp-sink alone and beside Postfix, in one run: rates, CPU a message, and their ratios.
#
#   benches/relay.sh [MESSAGES] [BYTES] [ROUNDS]     defaults: 50000 10240 3
#
# All on this machine's loopback: smtp-source -d -s 50 -> relay (2 shards) -> smtp-sink. Needs root for smtp-sink -u and Postfix.
# SKIP_POSTFIX=1 leaves Postfix out. Each chain is measured in every round, in turn; look at the medians' ratios, not
# at absolute numbers.
set -eu
cd "$(dirname "$0")/.."
messages=${1:-50000} bytes=${2:-10240} rounds=${3:-3}
postfix_messages=$((messages / 10))
export PATH=$PATH:/usr/sbin
for tool in smtp-source smtp-sink curl bc; do
  command -v "$tool" >/dev/null || { echo "missing: $tool (apt install postfix curl bc)" >&2; exit 1; }
done
cargo build --release --bin relevo
scratch=$(mktemp -d "${TMPDIR:-/tmp}/relevo-bench.XXXXXX")
chmod 755 "$scratch"
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  [ ! -d "$scratch/postfix/spool" ] || benches/postfix.sh stop "$scratch/postfix" || true
  rm -rf "$scratch"
}
trap cleanup EXIT
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
ticks() { # CPU ticks of a process and all its children, 100 a second
  local sum=0 pid
  for pid in $(tree "$1"); do
    sum=$((sum + $(awk '{print $14 + $15 + $16 + $17}' "/proc/$pid/stat" 2>/dev/null || echo 0)))
  done
  echo "$sum"
}
tree() {
  echo "$1"
  local child
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$child"; done
}
now() { date +%s%N; }
ulimit -n "$(ulimit -Hn)"

sink=$(port) relay=$(port) http=$(port) postfix=$(port)
user=(); [ "$(id -u)" != 0 ] || user=(-u nobody)
smtp-sink "${user[@]}" "127.0.0.1:$sink" 1000 &
pids+=($!) sink_pid=$!
cat >"$scratch/relevo.toml" <<TOML
[node]
hostname = "bench.example"
data_dir = "$scratch/spool"
shards = 2
[[listener]]
address = "127.0.0.1:$relay"
[[route]]
domain = "*"
to = "smtp://127.0.0.1:$sink"
[log]
path = "$scratch/accounting.jsonl"
[control]
http = "127.0.0.1:$http"
TOML
target/release/relevo run --config "$scratch/relevo.toml" &
pids+=($!) relay_pid=$!
for _ in $(seq 100); do curl -sf "http://127.0.0.1:$http/healthz" >/dev/null && break; sleep 0.1; done
sleep 1
if [ -z "${SKIP_POSTFIX:-}" ]; then benches/postfix.sh start "$scratch/postfix" "$postfix" "127.0.0.1:$sink"; fi

send() { smtp-source -d -s 50 -m "$2" -l "$bytes" -f sender@bench.example -t user@target.example "127.0.0.1:$1"; }
delivered() { curl -s "http://127.0.0.1:$http/metrics" | awk '/^relevo_recipients_delivered_total/ {s += $2} END {print s + 0}'; }
queued() { find "$scratch/postfix/spool/"{incoming,active,deferred,maildrop} -type f 2>/dev/null | wc -l; }
rss() { awk '/VmRSS/ {print $2}' "/proc/$relay_pid/status"; }

direct_rates=() relay_rates=() postfix_rates=() sink_cpu=() relay_cpu=() postfix_cpu=()
measure_direct() {
  local c=$(ticks $sink_pid) t=$(now)
  send "$sink" "$messages"
  direct_rates+=("$(echo "$messages * 1000000000 / ($(now) - $t)" | bc)")
  sink_cpu+=("$(echo "($(ticks $sink_pid) - $c) * 10000 / $messages" | bc)")
}
measure_relay() {
  local before=$(delivered) c=$(ticks $relay_pid) t=$(now)
  send "$relay" "$messages"
  for _ in $(seq 3000); do [ $(($(delivered) - before)) -lt "$messages" ] || break; sleep 0.02; done
  relay_rates+=("$(echo "$messages * 1000000000 / ($(now) - $t)" | bc)")
  relay_cpu+=("$(echo "($(ticks $relay_pid) - $c) * 10000 / $messages" | bc)")
}
measure_postfix() {
  local master c t
  master=$(tr -d ' \n' <"$scratch/postfix/spool/pid/master.pid")
  c=$(ticks "$master") t=$(now)
  send "$postfix" "$postfix_messages"
  for _ in $(seq 3000); do [ "$(queued)" -gt 0 ] || break; sleep 0.02; done
  postfix_rates+=("$(echo "$postfix_messages * 1000000000 / ($(now) - $t)" | bc)")
  postfix_cpu+=("$(echo "($(ticks "$master") - $c) * 10000 / $postfix_messages" | bc)")
}
median() { printf '%s\n' "$@" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
ratio() { echo "scale=2; $1 / $2" | bc; }

for _ in $(seq "$rounds"); do
  measure_direct
  measure_relay
  [ -n "${SKIP_POSTFIX:-}" ] || measure_postfix
done
d=$(median "${direct_rates[@]}") r=$(median "${relay_rates[@]}") sc=$(median "${sink_cpu[@]}") rc=$(median "${relay_cpu[@]}")
echo
echo "$messages messages of $bytes bytes over 50 kept connections, $rounds rounds, medians"
printf '%-34s %10s %14s\n' chain messages/s 'CPU us/message'
printf '%-34s %10s %14s\n' 'smtp-source -> smtp-sink' "$d" "$sc (sink)"
printf '%-34s %10s %14s\n' 'smtp-source -> relevo -> smtp-sink' "$r" "$rc"
if [ -z "${SKIP_POSTFIX:-}" ]; then
  p=$(median "${postfix_rates[@]}") pc=$(median "${postfix_cpu[@]}")
  printf '%-34s %10s %14s\n' 'smtp-source -> Postfix -> smtp-sink' "$p" "$pc"
fi
echo
printf '%-52s %6s   %s\n' 'relayed rate / direct rate' "$(ratio "$r" "$d")" 'goal 0.55 or more'
printf '%-52s %6s   %s\n' 'CPU of relevo / CPU of smtp-sink, a message' "$(ratio "$rc" "$sc")" 'goal 2.2 or less'
if [ -z "${SKIP_POSTFIX:-}" ]; then
  printf '%-52s %6s   %s\n' 'rate of relevo / rate of Postfix' "$(ratio "$r" "$p")" 'goal 7 or more'
  printf '%-52s %6s   %s\n' 'CPU of Postfix / CPU of relevo, a message' "$(ratio "$pc" "$rc")" 'goal 12 or more'
fi
sleep 12
c=$(ticks $relay_pid)
sleep 10
idle=$(echo "scale=2; ($(ticks $relay_pid) - $c) / 10" | bc)
printf '%-52s %6s   %s\n' 'idle CPU, percent of one core' "$idle" 'goal below 1'
before=$(rss)
after=$(python3 - "$relay" "$relay_pid" <<'PY'
import resource, socket, sys, time
port, pid = int(sys.argv[1]), sys.argv[2]
connections = []
for _ in range(min(4000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)):
    s = socket.create_connection(("127.0.0.1", port))
    s.recv(500)
    s.sendall(b"EHLO bench.example\r\n")
    s.recv(500)
    connections.append(s)
time.sleep(0.5)
print(len(connections), [l.split()[1] for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS")][0])
PY
)
printf '%-52s %6s   %s\n' 'bytes of RSS an idle connection' "$(((${after#* } - before) * 1024 / ${after% *}))" 'goal below 3072'
