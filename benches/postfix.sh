#!/usr/bin/env bash
# A Postfix of its own in a scratch directory, durable as it is by default, to compare with. Needs root and Debian's postfix.
#   postfix.sh start DIR PORT NEXTHOST:NEXTPORT
#   postfix.sh stop DIR
set -eu
command=$1
dir=$(realpath -m "$2")
case $command in
start)
  port=$3
  host=${4%:*}
  mkdir -p "$dir/etc" "$dir/spool" "$dir/data"
  chown root "$dir/spool"
  chown postfix "$dir/data"
  [ ! -f /etc/postfix/dynamicmaps.cf ] || cp /etc/postfix/dynamicmaps.cf "$dir/etc/"
  {
    echo "compatibility_level = 3.6"
    echo "queue_directory = $dir/spool"
    echo "data_directory = $dir/data"
    echo "command_directory = /usr/sbin"
    echo "daemon_directory = /usr/lib/postfix/sbin"
    echo "mail_owner = postfix"
    echo "setgid_group = postdrop"
    echo "maillog_file = $dir/mail.log"
    echo "maillog_file_prefixes = /"
    echo "myhostname = postfix.example"
    echo "mydestination ="
    echo "local_transport = error:no local mail"
    echo "alias_maps ="
    echo "alias_database ="
    echo "inet_interfaces = 127.0.0.1"
    echo "inet_protocols = ipv4"
    echo "mynetworks = 127.0.0.0/8"
    echo "smtpd_relay_restrictions = permit_mynetworks, reject"
    echo "relayhost = [$host]:${4##*:}"
    echo "smtp_dns_support_level = disabled"
    echo "smtp_host_lookup = native"
    echo "smtpd_peername_lookup = no"
    # Tuned for throughput, without giving up durability.
    echo "smtpd_client_connection_count_limit = 0"
    echo "smtpd_client_connection_rate_limit = 0"
    echo "default_process_limit = 100"
    echo "default_destination_concurrency_limit = 20"
    echo "initial_destination_concurrency = 20"
    echo "max_use = 10000"
    echo "in_flow_delay = 0"
  } >"$dir/etc/main.cf"
  # The shipped services without chroot, the listener on our port, nothing else that listens.
  awk -v port="$port" '
    $1 == "smtp" && $2 == "inet" { print "127.0.0.1:" port " inet n - n - - smtpd"; next }
    $1 == "submission" || $1 == "smtps" || $1 == "submissions" || $1 == "pickup" { next }
    $2 == "unix" || $2 == "fifo" || $2 == "unix-dgram" { if ($5 == "y") $5 = "n" }
    { print }' /usr/share/postfix/master.cf.dist >"$dir/etc/master.cf"
  postfix -c "$dir/etc" start >"$dir/start.log" 2>&1 </dev/null
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then exit 0; fi
    sleep 0.1
  done
  cat "$dir/start.log" "$dir/mail.log" >&2
  exit 1
  ;;
stop)
  # `postfix stop` can hang: end the master itself, with a bound.
  pid=$(tr -d ' \n' <"$dir/spool/pid/master.pid")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 30); do
    kill -0 "$pid" 2>/dev/null || exit 0
    sleep 0.1
  done
  kill -9 "$pid"
  ;;
esac
