//! What `cargo xtask up` prints once all is ready. The only two places that
//! print a key or a password.

use std::{env, io::Write};

use serde::Serialize;

use super::Demo;
use rekey_testbed::Fleet;
use rekey_testbed::random;

/// The line of `--json`; the order of the fields is the order in it.
#[derive(Serialize)]
struct Line<'a> {
    gateways: Vec<String>,
    envoy_admin: Vec<String>,
    stores: [String; 1],
    store_admin: String,
    store_admin_token: &'a str,
    upstream: String,
    dashboard: String,
    user_id: &'a str,
    api_key: &'a str,
    email: &'a str,
    password: &'a str,
    store_cli: String,
    pids: Pids,
}

#[derive(Serialize)]
struct Pids {
    /// The processes to tell to stop.
    gateways: Vec<u32>,
    /// The Envoys themselves, for SIGSTOP and worse.
    envoys: Vec<u32>,
    stores: [u32; 1],
    upstream: u32,
}

pub(super) fn print_json(fleet: &Fleet, demo: &Demo) -> anyhow::Result<()> {
    let gateways = || fleet.gateways.iter();
    let line = Line {
        gateways: gateways().map(|gateway| gateway.url()).collect(),
        envoy_admin: gateways().map(|gateway| gateway.admin_url()).collect(),
        stores: [fleet.store.url()],
        store_admin: fleet.store.admin_url(),
        store_admin_token: &fleet.secrets.admin_token,
        upstream: fleet.upstream.url(),
        dashboard: fleet.store.dashboard_url(),
        user_id: &demo.account.user_id,
        api_key: &demo.account.api_key,
        email: &demo.email,
        password: &demo.password,
        store_cli: fleet.store.cli_path().to_string_lossy().into_owned(),
        pids: Pids {
            gateways: gateways().map(|gateway| gateway.process.pid()).collect(),
            envoys: gateways().map(|gateway| gateway.envoy_pid()).collect(),
            stores: [fleet.store.process.pid()],
            upstream: fleet.upstream.process.pid(),
        },
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &line)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

pub(super) fn print_text(fleet: &Fleet, demo: &Demo) -> anyhow::Result<()> {
    let gateway = &fleet.gateways[0];
    let url = gateway.url();
    let key = &demo.account.api_key;
    let user = &demo.account.user_id;
    let upstream = fleet.upstream.url();
    // An operator's own token is not ours to print.
    let (whose, token) = if env::var_os("REKEY_ADMIN_TOKEN").is_some() {
        ("of your environment", String::new())
    } else {
        let token = &fleet.secrets.admin_token;
        ("of this run", format!(" REKEY_ADMIN_TOKEN={token}"))
    };
    let once = random::hex(16)?;
    let mut out = std::io::stdout().lock();
    write!(
        out,
        r#"
Rekey is up. The API key of user {user}, shown this once:

  {key}

Regenerate it, as the API is documented. Should the answer get lost, repeat this
very line within ten minutes, and you get the same new key again:

  curl -X POST "{url}/v1/user/api-key/regenerate" \
    -H "Idempotency-Key: {once}" \
    -H "Authorization: Bearer {key}" \
    -H "Content-Type: application/json"

The old key is refused from then on, everywhere:

  curl -i "{url}/v1/echo" -H "Authorization: Bearer {key}"

Put the new one in its place. Each call costs a credit; regenerating does not,
and is possible once per {interval} (after that: 429 and when to try again):

  NEW_KEY={new_key}
  curl "{url}/v1/echo" -H "Authorization: Bearer $NEW_KEY"
  curl "{upstream}/demo/ledger"
  curl -i -X POST "{url}/v1/user/api-key/regenerate" -H "Authorization: Bearer $NEW_KEY"

Or regenerate it in a browser, at Settings → Profile → Regenerate API Key, under
the same limit. The dashboard shows the new key once, and copies it:

  dashboard  {dashboard}
  email      {email}
  password   {password}

The operator's side, with the admin token {whose}:

  export REKEY_ADMIN_URL={admin}{token}
  {cli} users list
  {cli} audit --user {user}

"#,
        new_key = rekey_protocol::masked(""),
        dashboard = fleet.store.dashboard_url(),
        email = demo.email,
        password = demo.password,
        interval = fleet.store.options.rotation_interval,
        admin = fleet.store.admin_url(),
        cli = fleet.store.cli_path().display(),
    )?;
    print_places(fleet, &mut out)?;
    Ok(out.flush()?)
}

fn print_places(fleet: &Fleet, out: &mut impl Write) -> anyhow::Result<()> {
    for gateway in &fleet.gateways {
        let name = &gateway.options.name;
        let (url, admin) = (gateway.url(), gateway.admin_url());
        writeln!(out, "{name}: {url}  (Envoy's admin: {admin})")?;
    }
    let logs = fleet.run_dir.path().display();
    writeln!(
        out,
        "Logs: {logs}/*/*.log\nCtrl-C stops all of it, when open requests have ended."
    )?;
    Ok(())
}
