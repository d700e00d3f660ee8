//! `rekey-store keys`: show, revoke and issue.

mod many;

use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{ArgAction, Args, Subcommand};
use rekey_protocol::{ApiKey, Digest, KEY_LEN, ResolvedState, UserId};
use zeroize::Zeroizing;

use super::client::{AdminClient, InDoubt};
use super::{CLIENT_HELP, Format, json_line, print, print_key};
use crate::api::{
    ISSUE_PATH, IssueRequest, KEYS_PATH, KeyIssued, KeyShown, REVOKE_PATH, RevokeRequest,
    RevokeResponse,
};
use many::LineKind;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Say whose a key is and whether it is active; the key stays as it is
    #[command(after_help = CLIENT_HELP)]
    Show(Shown),
    /// Revoke a key, or many; to revoke it again changes nothing
    #[command(after_help = CLIENT_HELP)]
    Revoke(Which),
    /// Give a user without an active key a new one, and print it, this once
    #[command(after_help = CLIENT_HELP)]
    Issue {
        /// Who is to have it
        #[arg(long, value_name = "ID")]
        user: UserId,
        /// Print JSON: {"user_id","api_key","created_at"}
        #[arg(long = "json", action = ArgAction::SetTrue, value_parser = Format::of_flag())]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(super) struct Shown {
    #[command(flatten)]
    key: OneKey,
    /// Print JSON
    #[arg(long = "json", action = ArgAction::SetTrue, value_parser = Format::of_flag())]
    format: Format,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct OneKey {
    /// The key with this SHA-256, 64 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = digest)]
    digest: Option<Digest>,
    /// The key on standard input: a command line would show it to everybody.
    /// Only its digest leaves this machine
    #[arg(long)]
    key_stdin: bool,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Which {
    #[command(flatten)]
    keys: Keys,
    /// What the lines of --from are. Of keys only the digests leave this machine
    #[arg(long, value_name = "WHAT", requires = "from")]
    lines: Option<LineKind>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Keys {
    /// The active key of this user
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// The key with this SHA-256, 64 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = digest)]
    digest: Option<Digest>,
    /// The key on standard input: a command line would show it to everybody.
    /// Only its digest leaves this machine
    #[arg(long)]
    key_stdin: bool,
    /// All that are in this file, one a line; `-` is standard input. Nothing is done
    /// unless every line can be read. It waits for the gateways once
    #[arg(long, value_name = "FILE", requires = "lines")]
    from: Option<PathBuf>,
}

const REVOKE_IN_DOUBT: InDoubt =
    "whether the key was revoked is not known: repeat the command, which changes nothing if it was";

const ISSUE_IN_DOUBT: InDoubt = "whether a key was issued is not known: repeat the command; if it says that the user has an active key, it was, and nobody has seen it: `rekey-store keys revoke --user ID` ends that key, and then the command gives another";

fn digest(text: &str) -> Result<Digest, &'static str> {
    Digest::from_hex(text).ok_or("a digest is 64 hexadecimal digits")
}

pub(super) fn run(command: &KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::Show(shown) => show(shown),
        KeysCommand::Revoke(which) => match (&which.keys.from, which.lines) {
            (Some(file), Some(lines)) => many::revoke(file, lines),
            _ => revoke(&which.keys),
        },
        KeysCommand::Issue { user, format } => issue(user, *format),
    }
}

fn issue(user: &UserId, format: Format) -> anyhow::Result<()> {
    let client = AdminClient::from_env()?;
    let request = IssueRequest {
        user_id: user.clone(),
    };
    let text = client.post(ISSUE_PATH, &request, ISSUE_IN_DOUBT)?;
    let issued: KeyIssued<'_> = client.parsed(&text)?;
    print_key(&text, issued.user_id, issued.api_key, format)
}

fn show(shown: &Shown) -> anyhow::Result<()> {
    let digest = match shown.key.digest {
        Some(digest) => digest,
        None => read_key()?.digest(),
    };
    let client = AdminClient::from_env()?;
    let key: KeyShown = client.get(&format!("{KEYS_PATH}?digest={}", digest.to_hex()))?;
    print(|out| {
        if shown.format == Format::Json {
            return json_line(out, &key);
        }
        let state = match key.state {
            ResolvedState::Active => "active",
            ResolvedState::Revoked => "revoked",
        };
        writeln!(out, "user_id: {}", key.user_id)?;
        writeln!(out, "email: {}", key.email.as_deref().unwrap_or("-"))?;
        writeln!(out, "state: {state}")?;
        writeln!(out, "key: …{}", key.hint.as_deref().unwrap_or("(no hint)"))?;
        writeln!(out, "created: {}", key.created_at)?;
        match &key.revoked_at {
            Some(at) => writeln!(out, "revoked: {at}"),
            None => Ok(()),
        }
    })
}

fn revoke(which: &Keys) -> anyhow::Result<()> {
    let digest = match which.key_stdin {
        true => Some(read_key()?.digest()),
        false => which.digest,
    };
    let client = AdminClient::from_env()?;
    let request = RevokeRequest {
        user_id: which.user.clone(),
        digest,
    };
    let text = client.post(REVOKE_PATH, &request, REVOKE_IN_DOUBT)?;
    let revoked: RevokeResponse = client.parsed(&text)?;
    print(|out| {
        let user = &revoked.user_id;
        match revoked.revoked {
            true => writeln!(out, "revoked the key of {user}"),
            false => writeln!(out, "nothing to do: it was not active any more ({user})"),
        }
    })
}

/// One key and at most a line's end.
fn read_key() -> anyhow::Result<ApiKey> {
    let mut text = Zeroizing::new([0; KEY_LEN + 3]);
    let mut len = 0;
    while let Some(rest) = text.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match std::io::stdin().read(rest).context("standard input")? {
            0 => break,
            read => len += read,
        }
    }
    let key = text.get(..len).unwrap_or_default().trim_ascii_end();
    if key.is_empty() {
        bail!("no key on standard input");
    }
    Ok(ApiKey::parse(key)?)
}
