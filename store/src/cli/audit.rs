//! `rekey-store audit`: what happened to users and their keys.

use std::io::Write;

use clap::{ArgAction, Args};
use rekey_protocol::UserId;

use super::client::AdminClient;
use super::{CLIENT_HELP, Format, Reader, json_line, print, print_page};
use crate::api::{AUDIT_PATH, AuditEvent, AuditPage, OldKeyUse, PAGE_MAX};
use crate::clock::UnixMillis;

#[derive(Debug, Args)]
#[command(after_help = CLIENT_HELP)]
pub(super) struct AuditArgs {
    /// Whose keys; a removed user's by the pseudonym [default: everybody's]
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// Only events since then: a time such as 2026-01-31T16:00:00Z, or how long ago, such
    /// as 24h or 7days
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<UnixMillis>,
    /// Only events after the one with this id, to go on where the last call ended: the
    /// `id` of the last line of --json
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
    /// Print JSON, one event per line
    #[arg(long = "json", action = ArgAction::SetTrue, value_parser = Format::of_flag())]
    format: Format,
}

fn moment(text: &str) -> Result<UnixMillis, &'static str> {
    if let Some(at) = UnixMillis::parse(text) {
        return Ok(at);
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "it is a time such as 2026-01-31T16:00:00Z, or how long ago, such as 24h")?;
    let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Ok(UnixMillis(UnixMillis::wall().0.saturating_sub(ago)))
}

/// Whose events are shown, and so whether a line says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    OneUser,
    Everybody,
}

pub(super) fn run(args: &AuditArgs) -> anyhow::Result<()> {
    let client = AdminClient::from_env()?;
    let mut path = format!("{AUDIT_PATH}?limit={PAGE_MAX}");
    // None of these needs escaping in a query.
    if let Some(user) = &args.user {
        path += &format!("&user={user}");
    }
    if let Some(since) = args.since {
        path += &format!("&since={}", since.rfc3339());
    }
    let whose = match args.user {
        Some(_) => Whose::OneUser,
        None => Whose::Everybody,
    };
    let mut after = args.after;
    let mut is_first = true;
    loop {
        let page: AuditPage = client.get(&format!("{path}&after={after}"))?;
        let reader = print_page(|out| {
            if is_first && args.format == Format::Text {
                let whose = match whose {
                    Whose::OneUser => "",
                    Whose::Everybody => "USER\t",
                };
                writeln!(
                    out,
                    "AT\t{whose}ACTION\tBY\tNEW_KEY\tREVISION\tCLIENT\tREQUEST"
                )?;
            }
            page.events.iter().try_for_each(|event| match args.format {
                Format::Json => json_line(out, event),
                Format::Text => line(out, event, whose),
            })
        })?;
        is_first = false;
        match page.next {
            _ if reader == Reader::Gone => return Ok(()),
            Some(next) => after = next,
            None if args.format == Format::Json => return Ok(()),
            None => return print(|out| page.old_keys.iter().try_for_each(|key| closing(out, key))),
        }
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

fn line(out: &mut impl Write, event: &AuditEvent, whose: Whose) -> std::io::Result<()> {
    let whose = match whose {
        Whose::OneUser => String::new(),
        Whose::Everybody => format!("{}\t", event.user_id),
    };
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
        "{}\t{whose}{action}\t{}\t{key}\t{}\t{}\t{}",
        event.at,
        event.source,
        event.revision,
        event.client_address.as_deref().unwrap_or("-"),
        event.client_request_id.as_deref().unwrap_or("-"),
    )
}
