#!/bin/bash
# gateway.sh ENVOY [ARGUMENT …]: runs Envoy, and lets it end without harm.
#
# Envoy itself ends at once when it is told to: downloads are cut, and a rotation
# that waits for the fleet is carried out without its answer, so that the new key
# was shown to nobody. On SIGTERM or SIGINT to this script instead,
#
#   1. the health path says 503, and every answer closes its connection, for
#      REKEY_DRAIN_NOTICE seconds (5), so that load balancers and clients leave;
#   2. no connection is accepted any more;
#   3. what is open may end, for REKEY_DRAIN_GRACE seconds (40): longer than the
#      longest wait of a rotation, 33 s;
#   4. Envoy is ended, and this script ends with its status.
#
# Under systemd it needs KillMode=mixed: else Envoy is told to stop, too.
#
# A second signal ends Envoy at once. REKEY_ENVOY_ADMIN (127.0.0.1:9901) is where
# Envoy's admin interface listens. (A Ctrl-C at the terminal of this script reaches
# Envoy too, and no drain can follow.)
set -u
admin=${REKEY_ENVOY_ADMIN:-127.0.0.1:9901}
notice=${REKEY_DRAIN_NOTICE:-5}
grace=${REKEY_DRAIN_GRACE:-40}

for name in REKEY_DRAIN_NOTICE=$notice REKEY_DRAIN_GRACE=$grace; do
  if ! [[ ${name#*=} =~ ^[0-9]{1,5}$ ]]; then
    echo "gateway: ${name%%=*} is '${name#*=}'; it takes whole seconds, such as 40" >&2
    exit 2
  fi
done

say() { echo "gateway: $*" >&2; }

# An IPv6 address without its brackets.
host=${admin%:*}
host=${host#[}
host=${host%]}

# Waits without a process of its own, which would outlive a drain that is ended.
exec {never}<> <(:)
pause() { read -rt "$1" -u "$never"; }

# ask METHOD PATH: the answer of Envoy's admin interface, if it is a 200.
ask() {
  {
    printf '%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1" "$2" >&3
    read -rt 2 -u 3 _ status _ && [ "$status" = 200 ] || return
    while read -rt 2 -u 3 line; do echo "${line%$'\r'}"; done
  } 3<>"/dev/tcp/$host/${admin##*:}"
} 2>/dev/null

# How much is open: requests, and bytes of answers that slow clients have not
# taken yet. Envoy counts such a request as done.
count_open() {
  local stats name value sum=0
  stats=$(ask GET '/stats?filter=downstream_(rq_active|cx_tx_bytes_buffered)$') || return
  while read -r name value; do
    case $name in
      http.admin.*) ;; # that is us
      http.*) sum=$((sum + value)) ;;
    esac
  done <<<"$stats"
  echo "$sum"
}

drain() {
  say "told to stop: failing the health check, serving for $notice s more"
  ask POST /healthcheck/fail >/dev/null || return
  pause "$notice"
  say "accepting no more connections: what is open may take $grace s"
  ask POST /drain_listeners >/dev/null || return
  local open
  SECONDS=0
  until open=$(count_open) || return; [ "$open" = 0 ]; do
    if [ "$SECONDS" -ge "$grace" ]; then
      say "something is still open: cutting it"
      break
    fi
    pause 0.1
  done
  return 0
}

end() {
  say "ending Envoy"
  kill -TERM "$envoy"
  pause 5
  # It stands still.
  say "killing Envoy"
  kill -KILL "$envoy"
}

# Both run beside the `wait` below, so that a signal is always heard at once.
on_signal() {
  told=yes
  if [ -z "$ending" ]; then
    { drain || say "Envoy's admin interface at $admin does not answer"; end; } &
  else
    kill "$ending" 2>/dev/null
    end &
  fi
  ending=$!
}

ending=
trap on_signal TERM INT
# Whatever kills this script kills Envoy too, where the kernel can be asked to.
if command -v setpriv >/dev/null; then set -- setpriv --pdeathsig KILL "$@"; fi
"$@" &
envoy=$!
# A signal ends the `wait`, not Envoy.
until told=; wait "$envoy"; status=$?; [ -z "$told" ]; do :; done
[ -z "$ending" ] || kill "$ending" 2>/dev/null
say "Envoy has ended with status $status"
exit "$status"
