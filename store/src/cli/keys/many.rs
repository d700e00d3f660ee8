//! `rekey-store keys revoke --from FILE`: many keys at once, as after a leak.
//!
//! The operator says what the lines are. To guess would be dangerous: a key with a
//! letter too few has the looks of a user id, and would leave this machine as it is.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use clap::ValueEnum;
use rekey_protocol::{ApiKey, Digest, UserId};
use zeroize::Zeroizing;

use super::super::client::{AdminClient, InDoubt};
use super::super::print;
use crate::api::{
    REVOKE_MANY_PATH, REVOKE_MOST, RevokeManyRequest, RevokeOutcome, RevokeRequest, RevokedMany,
    RevokedOne,
};

/// The longest line, in bytes: more than a digest or a user id takes.
const LINE_MAX: u64 = 256;

const IN_DOUBT: InDoubt = "which keys were revoked is not known: repeat the command, which changes nothing about those that were";

/// What the lines of the file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LineKind {
    /// Ids of users, whose active keys are meant.
    Users,
    /// SHA-256 of keys, 64 hexadecimal digits each.
    Digests,
    /// Keys in plain text.
    Keys,
}

/// One line that can be read.
struct Wanted {
    line: u64,
    request: RevokeRequest,
}

/// Revokes all that the file names, and prints a line for each.
pub(super) fn revoke(path: &Path, lines: LineKind) -> anyhow::Result<()> {
    let client = AdminClient::from_env()?;
    let name = path.display();
    let wanted = match path == Path::new("-") {
        true => read(std::io::stdin().lock(), lines).context("standard input")?,
        false => {
            let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
            read(BufReader::new(file), lines).with_context(|| format!("{name}"))?
        }
    };
    if wanted.is_empty() {
        bail!("{name}: there is nothing in it");
    }
    let mut missing = 0;
    for part in wanted.chunks(REVOKE_MOST) {
        let request = RevokeManyRequest {
            keys: part.iter().map(|wanted| wanted.request.clone()).collect(),
        };
        let answer: RevokedMany =
            client.parsed(&client.post(REVOKE_MANY_PATH, &request, IN_DOUBT)?)?;
        if answer.results.len() != part.len() {
            bail!("the key store answered for another number of keys; do it again, it is safe");
        }
        let results = part.iter().zip(&answer.results);
        missing += answer.results.iter().filter(|one| is_missing(one)).count();
        print(|out| {
            results
                .clone()
                .try_for_each(|(wanted, one)| writeln!(out, "line {}: {}", wanted.line, told(one)))
        })?;
    }
    match missing {
        0 => Ok(()),
        missing => bail!(
            "{missing} of {} lines are unknown to the store",
            wanted.len()
        ),
    }
}

fn is_missing(one: &RevokedOne) -> bool {
    matches!(
        one.outcome,
        RevokeOutcome::UnknownUser | RevokeOutcome::UnknownKey
    )
}

fn told(one: &RevokedOne) -> String {
    let user = one.user_id.as_ref().map_or("", |user| user.as_str());
    match one.outcome {
        RevokeOutcome::Revoked => format!("revoked the key of {user}"),
        RevokeOutcome::NotActive => format!("was not active any more ({user})"),
        RevokeOutcome::UnknownUser => "there is no such user".to_owned(),
        RevokeOutcome::UnknownKey => "the store does not know this key".to_owned(),
    }
}

/// All lines, or what is wrong with each bad one, on standard error.
fn read(mut input: impl BufRead, lines: LineKind) -> anyhow::Result<Vec<Wanted>> {
    let (mut wanted, mut bad) = (Vec::new(), 0);
    let mut text = Zeroizing::new(Vec::with_capacity(LINE_MAX as usize));
    for line in 1.. {
        text.clear();
        if input.by_ref().take(LINE_MAX).read_until(b'\n', &mut text)? == 0 {
            break;
        }
        let is_whole = text.ends_with(b"\n") || (text.len() as u64) < LINE_MAX;
        if !is_whole {
            bail!("line {line} is too long; nothing was revoked");
        }
        // What Windows' editors put before the first line.
        let marked = text
            .strip_prefix(b"\xef\xbb\xbf".as_slice())
            .filter(|_| line == 1);
        let trimmed = marked.unwrap_or(&text).trim_ascii();
        if trimmed.is_empty() {
            continue;
        }
        match parsed(trimmed, lines) {
            Ok(request) => wanted.push(Wanted { line, request }),
            Err(reason) => {
                bad += 1;
                let _ = writeln!(std::io::stderr(), "line {line}: {reason}");
            }
        }
    }
    match bad {
        0 => Ok(wanted),
        bad => bail!("{bad} lines cannot be read; nothing was revoked"),
    }
}

/// What a line names. The reasons repeat none of it: it may be a key.
fn parsed(line: &[u8], lines: LineKind) -> Result<RevokeRequest, String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned());
    let (mut user_id, mut digest) = (None, None);
    match lines {
        LineKind::Users => {
            let user = UserId::try_from(text?.to_owned());
            user_id = Some(user.map_err(|error| error.to_string())?);
        }
        LineKind::Digests => {
            let found = Digest::from_hex(text?);
            digest = Some(found.ok_or("a digest is 64 hexadecimal digits")?);
        }
        LineKind::Keys => {
            let key = ApiKey::parse(line).map_err(|error| error.to_string())?;
            digest = Some(key.digest());
        }
    }
    Ok(RevokeRequest { user_id, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sb_live_0123456789abcdefghijABCDEFGHIJ12";

    fn error(text: &str, lines: LineKind) -> String {
        read(text.as_bytes(), lines).err().unwrap().to_string()
    }

    #[test]
    fn lines_are_what_the_operator_says() {
        let digest = Digest::of(KEY.as_bytes());
        let keys = read(format!("{KEY}\r\n\n  {KEY}").as_bytes(), LineKind::Keys).unwrap();
        let found: Vec<_> = keys
            .iter()
            .map(|key| (key.line, key.request.digest))
            .collect();
        assert_eq!(found, [(1, Some(digest)), (3, Some(digest))]);
        let hex = digest.to_hex();
        let digests = read(hex.as_bytes(), LineKind::Digests).unwrap();
        assert_eq!(digests[0].request.digest, Some(digest));
        // The same text may be a user's id.
        let users = read(hex.as_bytes(), LineKind::Users).unwrap();
        assert_eq!(users[0].request.user_id.as_ref().unwrap().as_str(), hex);
    }

    #[test]
    fn nothing_is_done_if_one_line_is_bad() {
        assert!(error("ann\nb b\n", LineKind::Users).starts_with("1 lines cannot"));
        assert!(error(&format!("{KEY}\n{KEY}x\nann"), LineKind::Keys).starts_with("2 lines"));
        assert!(error("ann", LineKind::Digests).starts_with("1 lines"));
        let long = "a".repeat(300);
        assert!(error(&format!("ann\n{long}"), LineKind::Users).contains("line 2 is too long"));
        let reason = parsed(&KEY.as_bytes()[1..], LineKind::Keys).unwrap_err();
        assert!(!reason.contains(&KEY[20..]), "{reason}");
    }
}
