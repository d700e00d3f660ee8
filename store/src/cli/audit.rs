//! `rekey-store audit`: what happened to a user's keys.

use std::io::Write;

use clap::Args;
use rekey_protocol::UserId;

use super::{CLIENT_HELP, client::Client, print};
use crate::api::{AUDIT_PATH, AuditEvent, AuditPage, OldKeyUse, PAGE_MAX};

#[derive(Debug, Args)]
#[command(after_help = CLIENT_HELP)]
pub struct AuditArgs {
    /// Whose keys
    #[arg(long, value_name = "ID")]
    user: UserId,
    /// Print JSON, one event per line
    #[arg(long)]
    json: bool,
}

pub fn run(args: &AuditArgs) -> anyhow::Result<()> {
    let client = Client::from_env()?;
    let mut after = 0;
    loop {
        let user = &args.user;
        let path = format!("{AUDIT_PATH}?user={user}&limit={PAGE_MAX}&after={after}");
        let page: AuditPage = client.get(&path)?;
        print(|out| {
            if after == 0 && !args.json {
                writeln!(out, "AT\tACTION\tBY\tNEW_KEY\tREVISION\tCLIENT\tREQUEST")?;
            }
            page.events.iter().try_for_each(|event| match args.json {
                true => {
                    serde_json::to_writer(&mut *out, event)?;
                    writeln!(out)
                }
                false => line(out, event),
            })
        })?;
        if let Some(next) = page.next {
            after = next;
            continue;
        }
        if args.json {
            return Ok(());
        }
        return print(|out| page.old_keys.iter().try_for_each(|key| closing(out, key)));
    }
}

/// What people should see even if they read nothing else.
fn closing(out: &mut impl Write, key: &OldKeyUse) -> std::io::Result<()> {
    writeln!(
        out,
        "The old key …{} was used {}, last at {}.",
        key.hint.as_deref().unwrap_or("(no hint)"),
        key.in_words(),
        key.last_at
    )
}

fn line(out: &mut impl Write, event: &AuditEvent) -> std::io::Result<()> {
    let key = match (&event.new_digest, &event.hint) {
        (None, _) => "-".to_owned(),
        (Some(_), hint) => format!("…{}", hint.as_deref().unwrap_or("(no hint)")),
    };
    let action = match event.uses {
        Some(uses) => format!("{} ({uses})", event.action),
        None => event.action.clone(),
    };
    writeln!(
        out,
        "{}\t{action}\t{}\t{key}\t{}\t{}\t{}",
        event.at,
        event.source,
        event.revision,
        event.client_address.as_deref().unwrap_or("-"),
        event.client_request_id.as_deref().unwrap_or("-"),
    )
}
