//! Programs that people have, as they are installed: curl and Python's urllib, far
//! from the gateway. docs/clients.md has more of them, tried by hand.

use std::process::{Command, Output};
use std::time::Duration;

use rekey_testbed::FleetOptions;

use crate::support::client::REGENERATE;
use crate::support::faults::link::Link;
use crate::support::fleet;

const FAR_AWAY: Duration = Duration::from_millis(80);

/// Reads an answer in pieces, with some work on each, and prints its length; of a
/// refusal its status and body.
const URLLIB: &str = r#"
import sys, time, urllib.error, urllib.request
url, key, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
data = sys.stdin.buffer.read() or None
request = urllib.request.Request(url, data, {"authorization": "Bearer " + key})
try:
    with urllib.request.urlopen(request) as answer:
        length = 0
        while piece := answer.read(65536):
            length += len(piece)
            time.sleep(pause)
        print(answer.status, length)
except urllib.error.HTTPError as refused:
    print(refused.status, refused.read().decode())
"#;

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn urllib_and_curl_get_whole_answers_and_readable_refusals_from_afar() {
    let fleet = fleet::start(FleetOptions::default());
    let link = Link::start(fleet.gateways[0].address(), FAR_AWAY);
    let url = |path: &str| format!("http://{}{path}", link.address());
    let key = fleet.user().api_key;
    let urllib = |path: &str, key: &str, pause: &str| {
        let mut python = Command::new("python3");
        python.args(["-c", URLLIB, &url(path), key, pause]);
        text(&python.stdin(std::process::Stdio::null()).output().unwrap())
    };
    let report = "/v1/report?bytes=6000000";
    assert_eq!(urllib(report, &key, "0"), "200 6000000\n");
    assert_eq!(urllib(report, &key, "0.02"), "200 6000000\n");
    let refused = urllib(report, "sb_live_none", "0");
    assert!(refused.starts_with("401 {\"success\":false"), "{refused}");

    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--noproxy", "*", "--max-time", "60"]);
        text(&curl.args(arguments).output().unwrap())
    };
    let authorization = format!("authorization: Bearer {key}");
    let authorized = ["-H", authorization.as_str()];
    let length = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"];
    for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
        let slowly = ["--limit-rate", "3M", version, &url(report)];
        let found = curl(&[&authorized[..], &length, &slowly].concat());
        assert_eq!(found, "200 6000000", "{version}");
    }
    // Refused uploads. Over HTTP/2 this curl shows an answer only if it has sent all
    // before: so the gateway waits for a small body.
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for body in ["{}", &"x".repeat(2_000), &"x".repeat(20_000)] {
            let upload = [version, "--data-raw", body, &url("/v1/scrape")];
            let refused = curl(&upload);
            let length = body.len();
            assert!(
                refused.contains("missing_api_key"),
                "{version}, {length}: {refused}"
            );
        }
    }
    // A large one.
    let upload = ["--data-binary", "@-", &url("/v1/scrape")];
    let mut curl_upload = Command::new("sh");
    let line = format!(
        "head -c 300000 /dev/zero | curl --silent --noproxy '*' --max-time 60 {}",
        upload.join(" ")
    );
    let refused = text(&curl_upload.args(["-c", &line]).output().unwrap());
    assert!(refused.contains("missing_api_key"), "{refused}");
    let regenerated = curl(&[&authorized[..], &["-X", "POST", &url(REGENERATE)]].concat());
    assert!(
        regenerated.contains("\"api_key\":\"sb_live_"),
        "{regenerated}"
    );
    fleet.assert_no_trap();
}
