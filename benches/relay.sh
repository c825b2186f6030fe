#!/usr/bin/env bash
# The relay beside smtp-sink alone, Postfix and Haraka, in one run: rates, CPU a message, and their ratios. Two tables: all messages over
# 50 kept connections, and a new connection for each message, 50 at a time.
#
#   benches/relay.sh [MESSAGES] [BYTES] [ROUNDS]     defaults: 50000 10240 3
#
# All on this machine's loopback: smtp-source -> relay (SHARDS, default 2) -> smtp-sink. Needs root for smtp-sink -u and Postfix.
# SKIP_POSTFIX=1 and SKIP_HARAKA=1 leave these out; they get a tenth of the messages. Haraka (two workers) writes each mail
# to a file but does not sync it. Each chain is measured in every round, in turn; look at the medians' ratios, not at
# absolute numbers.
set -eu
cd "$(dirname "$0")/.."
messages=${1:-50000} bytes=${2:-10240} rounds=${3:-3} shards=${SHARDS:-2}
export PATH=$PATH:/usr/sbin
for tool in smtp-source smtp-sink curl bc; do
  command -v "$tool" >/dev/null || { echo "missing: $tool (apt install postfix curl bc)" >&2; exit 1; }
done
chains=(direct relevo)
[ -n "${SKIP_POSTFIX:-}" ] || chains+=(postfix)
[ -n "${SKIP_HARAKA:-}" ] || { command -v npm >/dev/null && chains+=(haraka); } || echo "no npm: without Haraka" >&2
cargo build --release --bin relevo
scratch=$(mktemp -d "${TMPDIR:-/tmp}/relevo-bench.XXXXXX")
chmod 755 "$scratch"
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  [ ! -d "$scratch/postfix/spool" ] || benches/postfix.sh stop "$scratch/postfix" || true
  [ ! -f "$scratch/haraka/pid" ] || benches/haraka.sh stop "$scratch/haraka" || true
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

sink=$(port) relay=$(port) http=$(port) postfix=$(port) haraka=$(port)
user=(); [ "$(id -u)" != 0 ] || user=(-u nobody)
smtp-sink "${user[@]}" "127.0.0.1:$sink" 1000 &
pids+=($!) sink_pid=$!
cat >"$scratch/relevo.toml" <<TOML
[node]
hostname = "bench.example"
data_dir = "$scratch/spool"
shards = $shards
[[listener]]
address = "127.0.0.1:$relay"
connections_per_client = 100000
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
for chain in "${chains[@]}"; do
  case $chain in
  postfix | haraka) benches/$chain.sh start "$scratch/$chain" "${!chain}" "127.0.0.1:$sink" ;;
  esac
done

send() { # kept|new PORT MESSAGES
  local kept=(); [ "$1" = new ] || kept=(-d)
  smtp-source "${kept[@]}" -s 50 -m "$3" -l "$bytes" -f sender@bench.example -t user@target.example "127.0.0.1:$2"
}
delivered() { curl -s "http://127.0.0.1:$http/metrics" | awk '/^relevo_recipients_delivered_total/ {s += $2} END {print s + 0}'; }
files() { find "$@" -type f 2>/dev/null | wc -l; }
rss() { awk '/VmRSS/ {print $2}' "/proc/$relay_pid/status"; }
count() { # kept|new CHAIN: how many messages
  local all=$messages
  # Less than there are ports, as each closed connection keeps one for a while.
  [ "$1" = kept ] || all=$((messages / 2 < 25000 ? messages / 2 : 25000))
  case $2 in direct | relevo) echo "$all" ;; *) echo $((all / 10)) ;; esac
}
wait_for() { for _ in $(seq 6000); do "$@" && return 0; sleep 0.02; done; echo "never: $*" >&2; exit 1; }
relevo_done() { [ "$(delivered)" -ge "$1" ]; }
postfix_done() { [ "$(files "$scratch/postfix/spool/"{incoming,active,deferred,maildrop})" = 0 ]; }
haraka_done() { [ "$(files "$scratch/haraka/queue")" = 0 ]; }

declare -A rates cpu
measure() { # kept|new CHAIN: until the last message is delivered
  local kind=$1 chain=$2 number goal=0 to pid c t
  number=$(count "$kind" "$chain")
  case $chain in
  direct) to=$sink pid=$sink_pid ;;
  relevo) to=$relay pid=$relay_pid goal=$(($(delivered) + number)) ;;
  postfix) to=$postfix pid=$(tr -d ' \n' <"$scratch/postfix/spool/pid/master.pid") ;;
  haraka) to=$haraka pid=$(cat "$scratch/haraka/pid") ;;
  esac
  c=$(ticks "$pid") t=$(now)
  send "$kind" "$to" "$number"
  [ "$chain" = direct ] || wait_for "${chain}_done" "$goal"
  rates[$kind $chain]+=" $(echo "$number * 1000000000 / ($(now) - $t)" | bc)"
  cpu[$kind $chain]+=" $(echo "($(ticks "$pid") - $c) * 10000 / $number" | bc)"
}
median() { printf '%s\n' "$@" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
# Rounded: bc cuts off, and 0.999 would read .99.
ratio() { printf "%-52s %6.2f   %s\n" "$1" "$(echo "scale=4; $2 / ($3)" | bc)" "$4"; }
table() { # kept|new GOAL-OF-RATE GOAL-OF-CPU
  local kind=$1 chain name
  declare -A r c
  printf '%-34s %10s %14s\n' chain messages/s 'CPU us/message'
  for chain in "${chains[@]}"; do
    # shellcheck disable=SC2086
    r[$chain]=$(median ${rates[$kind $chain]}) c[$chain]=$(median ${cpu[$kind $chain]})
    name="smtp-source -> $chain -> smtp-sink" note=""
    [ "$chain" != direct ] || name="smtp-source -> smtp-sink" note=" (sink)"
    printf '%-34s %10s %14s\n' "$name" "${r[$chain]}" "${c[$chain]}$note"
  done
  ratio 'relayed rate / direct rate' "${r[relevo]}" "${r[direct]}" "$2"
  ratio 'CPU of relevo / CPU of smtp-sink, a message' "${c[relevo]}" "${c[direct]}" "$3"
  for chain in "${chains[@]:2}"; do
    ratio "rate of relevo / rate of $chain" "${r[relevo]}" "${r[$chain]}" "$([ "$1 $chain" != 'kept postfix' ] || echo 'goal 7 or more')"
    ratio "CPU of $chain / CPU of relevo, a message" "${c[$chain]}" "${c[relevo]}" "$([ "$1 $chain" != 'kept postfix' ] || echo 'goal 12 or more')"
  done
}

for _ in $(seq "$rounds"); do
  for chain in "${chains[@]}"; do
    measure kept "$chain"
    measure new "$chain"
  done
done
echo
echo "$(count kept relevo) messages of $bytes bytes over 50 kept connections, $shards shards, $rounds rounds, medians"
table kept 'goal 0.68 or more' 'goal 1.5 or less'
echo
echo "$(count new relevo) messages with a new connection for each"
table new 'goal 0.55 or more' ''
echo
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
