//! envoy.yaml takes off, adds and guards the very headers that the filter reads and
//! sets, in requests and in their trailers, and names the endpoint as the filter does.

use rekey_protocol::contract::{KEY_HEADER, REGENERATE_PATH, REQUEST_ID_HEADER, USER_HEADER};
use rekey_testbed::EnvoyConfig;
use serde_json::{Value, json};

use crate::files;

/// What stands in envoy.yaml under this name, wherever that is.
fn under(name: &str) -> Vec<Value> {
    let path = files::root().join("envoy.yaml");
    let mut config = EnvoyConfig::read(&path).expect("envoy.yaml is YAML");
    let mut found = Vec::new();
    collect(config.value_mut(), name, &mut found);
    assert!(!found.is_empty(), "envoy.yaml has no {name}");
    found
}

fn collect(value: &Value, name: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                if field == name {
                    found.push(value.clone());
                }
                collect(value, name, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, name, found)),
        _ => {}
    }
}

/// Removes every spelling of the user's header that some server takes for it.
fn other_spellings() -> Value {
    let pattern = USER_HEADER.replace('-', "[^a-z0-9]");
    json!({ "remove_on_match": { "key_matcher": { "safe_regex": { "regex": pattern } } } })
}

#[test]
fn the_key_and_a_forged_user_are_taken_off_every_request() {
    for removed in under("request_headers_to_remove") {
        let removed = removed.as_array().expect("a list of names");
        for header in [KEY_HEADER, USER_HEADER] {
            assert!(removed.contains(&json!(header)), "{header}: {removed:?}");
        }
    }
    let mutations = under("request_mutations");
    assert_eq!(mutations, [json!([other_spellings()])]);
}

#[test]
fn the_key_and_a_forged_user_are_taken_off_the_trailers() {
    let mutations = under("request_trailers_mutations");
    let expected = json!([other_spellings(), { "remove": KEY_HEADER }]);
    assert_eq!(mutations, [expected]);
}

#[test]
fn the_user_is_what_the_filter_has_set() {
    let worker = files::read(&["src/worker.rs"]);
    let state = worker.first().and_then(|file| {
        let (_, value) = file.text.split_once("USER_STATE: &str = \"")?;
        value.split('"').next()
    });
    let value = format!("%FILTER_STATE(wasm.{}:PLAIN)%", state.expect("a state"));
    for added in under("request_headers_to_add") {
        let header = json!({ "key": USER_HEADER, "value": value });
        let append_action = "OVERWRITE_IF_EXISTS_OR_ADD";
        assert_eq!(
            added,
            json!([{ "header": header, "append_action": append_action }])
        );
    }
    let logged = under("json_format");
    assert!(logged.iter().all(|log| log["user"] == value), "{logged:?}");
    let request_id = format!("%REQ({})%", REQUEST_ID_HEADER.to_uppercase());
    assert!(logged.iter().all(|log| log["request_id"] == request_id));
}

#[test]
fn the_endpoint_has_its_route() {
    let matches = under("match");
    assert!(matches.contains(&json!({ "path": REGENERATE_PATH })));
}
