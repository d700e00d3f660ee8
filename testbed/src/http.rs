//! What the test bed itself asks of the parts: short, synchronous requests.

use std::time::Duration;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(10);

/// The body of a successful GET.
pub(crate) fn get(url: &str) -> anyhow::Result<String> {
    let mut response = agent(BadStatus::IsAnError)
        .get(url)
        .call()
        .with_context(|| format!("GET {url}"))?;
    // A configuration dump is larger than the library's default limit.
    let body = response.body_mut().with_config().limit(256 << 20);
    body.read_to_string().with_context(|| format!("GET {url}"))
}

/// The same, as JSON.
pub(crate) fn get_json<T: DeserializeOwned>(url: &str) -> anyhow::Result<T> {
    serde_json::from_str(&get(url)?).with_context(|| format!("GET {url}: not the JSON expected"))
}

/// The answer to a POST.
pub(crate) struct Posted {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: String,
}

/// Posts a JSON text; every status is an answer.
pub(crate) fn post_json(url: &str, token: &str, body: &Value) -> anyhow::Result<Posted> {
    let mut response = agent(BadStatus::IsAnAnswer)
        .post(url)
        .header("authorization", format!("Bearer {token}"))
        .send_json(body)
        .with_context(|| format!("POST {url}"))?;
    let text = response.body_mut().read_to_string();
    Ok(Posted {
        status: response.status().as_u16(),
        body: text.with_context(|| format!("POST {url}"))?,
    })
}

/// What a status of 400 or more counts as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BadStatus {
    IsAnError,
    IsAnAnswer,
}

fn agent(bad_status: BadStatus) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(LIMIT))
        .http_status_as_error(bad_status == BadStatus::IsAnError)
        .proxy(None)
        .build();
    ureq::Agent::new_with_config(config)
}
