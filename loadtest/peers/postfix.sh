#!/usr/bin/env bash
# Runs a Postfix of its own in the foreground for `relevo-load run --peer postfix=loadtest/peers/postfix.sh`: durable as it is by
# default, tuned for throughput. Needs root and Debian's postfix. Told by the environment: LOAD_LISTEN, LOAD_DNS
# (its port must be 53), LOAD_MX_PORT, LOAD_DIR.
set -eu
port=${LOAD_LISTEN##*:}
dir=$LOAD_DIR/postfix
if [ "${LOAD_DNS##*:}" != 53 ]; then
  echo "Postfix asks port 53 only: run as root, so that the name server can have it" >&2
  exit 1
fi
if [ "${1:-}" != inside ]; then
  # A name server of its own needs a resolv.conf of its own; a process namespace ends all of it with its first process.
  exec unshare --mount --propagation private "$0" inside
fi
mkdir -p "$dir/etc" "$dir/spool" "$dir/data"
echo "nameserver ${LOAD_DNS%:*}" >"$dir/resolv.conf"
mount --bind "$dir/resolv.conf" /etc/resolv.conf
chmod 755 "$LOAD_DIR" "$dir"
chown root "$dir/spool"
chown postfix "$dir/data"
[ ! -f /etc/postfix/dynamicmaps.cf ] || cp /etc/postfix/dynamicmaps.cf "$dir/etc/"
cat >"$dir/etc/main.cf" <<END
compatibility_level = 3.6
queue_directory = $dir/spool
data_directory = $dir/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = $dir/mail.log
maillog_file_prefixes = /
myhostname = postfix.load.example
mydestination =
local_transport = error:no local mail
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
# Its own addresses are not the receivers', although both are in 127.0.0.0/8.
smtp_bind_address = 127.0.0.1
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_tcp_port = $LOAD_MX_PORT
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_recipient_limit = 1000
smtpd_tls_security_level = none
default_process_limit = 100
default_destination_concurrency_limit = 100
initial_destination_concurrency = 20
minimal_backoff_time = 3s
maximal_backoff_time = 10s
queue_run_delay = 2s
max_use = 10000
in_flow_delay = 0
END
awk -v port="$port" '
  $1 == "smtp" && $2 == "inet" { print "127.0.0.1:" port " inet n - n - - smtpd"; next }
  $1 == "submission" || $1 == "smtps" || $1 == "submissions" || $1 == "pickup" { next }
  $2 == "unix" || $2 == "fifo" || $2 == "unix-dgram" { if ($5 == "y") $5 = "n" }
  { print }' /usr/share/postfix/master.cf.dist >"$dir/etc/master.cf"
rm -f "$dir/spool/pid/master.pid"
postfix -c "$dir/etc" check
exec /usr/lib/postfix/sbin/master -c "$dir/etc" -d
