//! What is true of the containers: a user who pastes the printed lines gets what
//! the documented API says, also after a restart, the printed log-in opens the
//! dashboard, and nothing secret is logged.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rekey_protocol::ApiKey;

use super::Timings;
use super::curl::{self, Answer};
use super::printed::{Printed, without_idempotency_key};
use super::project::Project;

/// How long a restarted store may be away.
const STORE_IS_BACK: Duration = Duration::from_secs(60);

/// Runs the whole test; the project is up afterwards.
pub(super) fn run(project: &Project, timings: &mut Timings) -> anyhow::Result<()> {
    let first = Printed::parse(&timings.take("first up", || project.up())?)?;
    let new_key = timings.take("curl test", || curl_test(project, &first))?;
    timings.take("log in", || first.login.shows(project, &new_key))?;

    containers_are_confined(project)?;
    store_is_out_of_reach(project)?;
    timings.take("stop", || project.stop())?;
    let logs = project.logs()?;
    ensure!(
        logs.contains("rekey_rotated"),
        "the logs do not tell of the requests; is the access log on?"
    );
    let keys = [
        ("the old key", first.key.as_str()),
        ("the new key", &new_key),
        ("the password", &first.login.password),
    ];
    nothing_secret(&logs, project.secrets().into_iter().chain(keys))?;

    timings.take("remove containers", || project.remove_containers())?;
    let second = Printed::parse(&timings.take("second up", || project.up())?)
        .context("the second start, on the kept database")?;
    ensure!(
        second.key != first.key,
        "the second start showed the first one's key"
    );
    for (key, status) in [(&first.key, 401), (&new_key, 200), (&second.key, 200)] {
        first
            .call(key, status)
            .context("after a restart on the kept database")?;
    }
    for (printed, key) in [(&first, &new_key), (&second, &second.key)] {
        let shown = printed.login.shows(project, key);
        shown.context("after a restart on the kept database")?;
    }
    let last_key = timings.take("repeat after a restart of the store", || {
        repeats_after_a_restart(project, &second)
    })?;
    let later = [
        ("the second user's key", second.key.as_str()),
        ("the second user's new key", &last_key),
        ("the second user's password", &second.login.password),
    ];
    let secrets = project.secrets().into_iter().chain(keys).chain(later);
    nothing_secret(&project.logs()?, secrets)
}

/// The documented API, by the printed lines. Returns the new key.
fn curl_test(project: &Project, printed: &Printed) -> anyhow::Result<String> {
    ensure!(
        printed.call.contains(&project.gateway()),
        "the printed lines are not for the published gateway at {}",
        project.gateway()
    );
    let old_key = &printed.key;
    printed.call(old_key, 200)?;

    let rotated = printed.regenerate(old_key, 200)?;
    let new_key = documented_success(&rotated.body)?;
    ensure!(&new_key != old_key, "the new key is the old key");

    printed.call(old_key, 401)?;
    ensure!(
        is_repeated(&printed.regenerate(old_key, 200)?, &new_key)?,
        "the same line once more gave another answer"
    );
    let line = without_idempotency_key(&printed.regenerate);
    printed.paste(&line, old_key, 401)?;
    printed.call(&new_key, 200)?;

    let limited = printed.regenerate(&new_key, 429)?;
    documented_rate_limit(&limited)?;
    Ok(new_key)
}

/// The line that was pasted before a restart of the store gives the same answer
/// after it. Returns the new key.
fn repeats_after_a_restart(project: &Project, printed: &Printed) -> anyhow::Result<String> {
    let rotated = printed.regenerate(&printed.key, 200)?;
    let new_key = documented_success(&rotated.body)?;
    project.restart("store")?;
    let began = Instant::now();
    loop {
        let answer = curl::paste(&printed.regenerate)?;
        match answer.status {
            200 => {
                ensure!(
                    is_repeated(&answer, &new_key)?,
                    "after a restart of the store the line gave another answer"
                );
                return Ok(new_key);
            }
            503 if began.elapsed() < STORE_IS_BACK => thread::sleep(Duration::from_millis(200)),
            status => bail!("repeated after a restart of the store: {status}"),
        }
    }
}

fn is_repeated(answer: &Answer, key: &str) -> anyhow::Result<bool> {
    let is_said = answer.header("idempotent-replayed") == "true";
    Ok(is_said && documented_success(&answer.body)? == key)
}

/// Compares the 200's body with the documented one, field for field in order.
/// Returns the new key.
fn documented_success(body: &str) -> anyhow::Result<String> {
    let json: serde_json::Value = serde_json::from_str(body).context("the 200 is no JSON")?;
    let text = |field: &str| json["data"][field].as_str().unwrap_or_default();
    let (key, created_at) = (text("api_key"), text("created_at"));
    let documented = format!(
        "{{\"success\":true,\"data\":{{\"api_key\":\"{key}\",\"created_at\":\"{created_at}\",\
         \"previous_key_invalidated\":true}},\
         \"message\":\"API key regenerated successfully. Your old key is now invalid.\"}}"
    );
    let masked = || match key {
        "" => body.to_owned(),
        key => body.replace(key, "…"),
    };
    ensure!(
        body == documented,
        "the 200 is not the documented object in its order: {}",
        masked(),
    );
    ensure!(
        ApiKey::parse(key.as_bytes()).is_ok(),
        "the new key has another form than the documented one"
    );
    Ok(key.to_owned())
}

/// Compares the 429 with the documented one, and its header with its body.
fn documented_rate_limit(answer: &Answer) -> anyhow::Result<()> {
    let json: serde_json::Value =
        serde_json::from_str(&answer.body).context("the 429 is no JSON")?;
    let seconds = json["error"]["retry_after"].as_u64().unwrap_or_default();
    let documented = format!(
        "{{\"success\":false,\"error\":{{\"code\":\"rate_limited\",\"message\":\"You can only \
         regenerate your API key once per hour. Please try again later.\",\
         \"retry_after\":{seconds}}}}}"
    );
    ensure!(
        answer.body == documented,
        "the 429 is not the documented object in its order: {}",
        answer.body,
    );
    ensure!((1..=3600).contains(&seconds), "retry_after is {seconds}");
    ensure!(
        answer.header("retry-after") == seconds.to_string(),
        "Retry-After {:?} does not agree with retry_after {seconds}",
        answer.header("retry-after"),
    );
    Ok(())
}

/// No root, nothing writable but volumes, and no way in but two ports.
fn containers_are_confined(project: &Project) -> anyhow::Result<()> {
    for line in project
        .inspect("{{.Name}} user={{.Config.User}} read-only={{.HostConfig.ReadonlyRootfs}}")?
    {
        let confined =
            line.contains("read-only=true") && !line.contains("user= ") && !line.contains("user=0");
        ensure!(confined, "a container may do too much: {line}");
    }
    let published = project.inspect(
        "{{range $port, $to := .HostConfig.PortBindings}}{{range $to}}http://{{.HostIp}}:{{.HostPort}} {{end}}{{end}}",
    )?;
    let published: BTreeSet<_> = published
        .iter()
        .flat_map(|line| line.split_whitespace())
        .map(str::to_owned)
        .collect();
    ensure!(
        published == BTreeSet::from([project.gateway(), project.dashboard()]),
        "only gateway and dashboard should be published, on loopback: {published:?}"
    );
    Ok(())
}

/// The upstream is on no network of the store's.
fn store_is_out_of_reach(project: &Project) -> anyhow::Result<()> {
    let lines = project.inspect(
        "{{index .Config.Labels \"com.docker.compose.service\"}}{{range $name, $_ := .NetworkSettings.Networks}} {{$name}}{{end}}",
    )?;
    let networks = |service: &str| -> anyhow::Result<BTreeSet<&str>> {
        let mut words = lines.iter().map(|line| line.split_whitespace());
        let found = words.find_map(|mut words| (words.next() == Some(service)).then_some(words));
        Ok(found.with_context(|| format!("no {service}"))?.collect())
    };
    let (store, upstream) = (networks("store")?, networks("upstream")?);
    ensure!(
        !store.is_empty() && !upstream.is_empty() && store.is_disjoint(&upstream),
        "the upstream can reach the store: {store:?}, {upstream:?}"
    );
    Ok(())
}

fn nothing_secret<'a>(
    logs: &str,
    secrets: impl Iterator<Item = (&'a str, &'a str)>,
) -> anyhow::Result<()> {
    for (name, secret) in secrets {
        ensure!(!logs.contains(secret), "{name} is in the containers' logs");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sb_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

    #[test]
    fn the_documented_success_passes_and_its_order_counts() {
        let message = "API key regenerated successfully. Your old key is now invalid.";
        let good = format!(
            r#"{{"success":true,"data":{{"api_key":"{KEY}","created_at":"2025-01-31T16:00:00Z","previous_key_invalidated":true}},"message":"{message}"}}"#
        );
        assert_eq!(documented_success(&good).unwrap(), KEY);

        let swapped = format!(
            r#"{{"success":true,"data":{{"created_at":"2025-01-31T16:00:00Z","api_key":"{KEY}","previous_key_invalidated":true}},"message":"{message}"}}"#
        );
        let error = documented_success(&swapped).unwrap_err().to_string();
        assert!(!error.contains(KEY), "{error}");
        assert!(documented_success(&good.replace("true}", "false}")).is_err());
        assert!(documented_success(&good.replace("sb_live_", "sb_test_")).is_err());
        assert!(documented_success("").is_err());
    }

    #[test]
    fn a_logged_secret_is_named_and_not_repeated() {
        let secrets = || [("the token", "s3cret")].into_iter();
        assert!(nothing_secret("all quiet", secrets()).is_ok());
        let error = nothing_secret("oh: s3cret!", secrets())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the token") && !error.contains("s3cret"),
            "{error}"
        );
    }
}
