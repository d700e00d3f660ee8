//! `rekey-store users`: add, list and remove, and set addresses and passwords.

use std::io::{BufRead, Read, Write};

use anyhow::{Context, bail};
use clap::{ArgAction, Args, Subcommand};
use rekey_protocol::UserId;

use super::client::{AdminClient, InDoubt};
use super::{CLIENT_HELP, Format, Reader, json_line, print, print_key, print_page};
use crate::accounts::email::Email;
use crate::accounts::password::Password;
use crate::api::{
    AddUserRequest, EMAIL_PATH, EmailSet, KeyEntry, PAGE_MAX, PASSWORD_PATH, PasswordSet,
    REMOVE_PATH, RemoveRequest, SetEmailRequest, SetPasswordRequest, USERS_PATH, UserAdded,
    UserEntry, UserPage, UserRemoved,
};

/// More than the longest password and a line's end take: 128 characters of four
/// bytes each.
const PASSWORD_BYTES_MAX: usize = 1024;
/// More than the longest user id and a line's end take.
const CONFIRMATION_MAX: u64 = 256;

const ADD_IN_DOUBT: InDoubt = "whether the user was added is not known: repeat the command; if it says that the user exists already, it was, and nobody has seen the key: `rekey-store users list` tells the id, `rekey-store keys revoke --user ID` ends that key, and `rekey-store keys issue --user ID` gives another";

const PASSWORD_IN_DOUBT: InDoubt =
    "whether the password was set is not known: repeat the command, which does no harm if it was";

const EMAIL_IN_DOUBT: InDoubt =
    "whether the address was set is not known: repeat the command, which does no harm if it was";

const REMOVE_IN_DOUBT: InDoubt = "whether the user was removed is not known: repeat the command, which changes nothing if so; the pseudonym is in the last `user_removed` event of `rekey-store audit --since 1h`";

#[derive(Debug, Subcommand)]
pub(super) enum UsersCommand {
    /// Add a user and print the first API key, this once
    #[command(after_help = CLIENT_HELP)]
    Add(AddArgs),
    /// Set a user's password for the dashboard; the user is logged out everywhere
    #[command(after_help = CLIENT_HELP)]
    SetPassword {
        /// Whose
        #[arg(long, value_name = "ID")]
        user: UserId,
        /// The password on standard input, 12 to 128 characters: a command line
        /// would show it to everybody
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// Give a user an address to log in with, in place of the present one
    #[command(after_help = CLIENT_HELP)]
    SetEmail {
        /// Whose
        #[arg(long, value_name = "ID")]
        user: UserId,
        /// The address; unique
        #[arg(long, value_name = "E-MAIL")]
        email: Email,
    },
    /// Remove a user, for good
    ///
    /// The key is dead on every gateway when the command returns. The address, the
    /// password and all log-ins are deleted. The audit log goes on under a pseudonym,
    /// which is printed this once; its times, actions, key digests and network addresses
    /// stay. Nobody else gets the user's id. A backup of before still has all of it.
    #[command(after_help = CLIENT_HELP)]
    Remove {
        /// Whom
        #[arg(long, value_name = "ID")]
        user: UserId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List the users, in the order of their ids, with the hour (UTC) in which the
    /// active key was last used
    #[command(after_help = CLIENT_HELP)]
    List {
        /// Print JSON, one user per line
        #[arg(long = "json", action = ArgAction::SetTrue, value_parser = Format::of_flag())]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The user's address; unique
    #[arg(long, value_name = "E-MAIL")]
    email: Email,
    /// The user's id, 1 to 64 of A-Z a-z 0-9 . _ - [default: made up]
    #[arg(long, value_name = "ID")]
    user_id: Option<UserId>,
    /// A password for the dashboard on standard input, 12 to 128 characters
    #[arg(long)]
    password_stdin: bool,
    /// Print JSON: {"user_id","email","api_key","created_at"}
    #[arg(long = "json", action = ArgAction::SetTrue, value_parser = Format::of_flag())]
    format: Format,
}

pub(super) fn run(command: &UsersCommand) -> anyhow::Result<()> {
    match command {
        UsersCommand::Add(wanted) => add(wanted),
        UsersCommand::SetPassword { user, .. } => set_password(user),
        UsersCommand::SetEmail { user, email } => set_email(user, email),
        UsersCommand::Remove { user, yes: true } => remove(user),
        UsersCommand::Remove { user, yes: false } => {
            confirm(user)?;
            remove(user)
        }
        UsersCommand::List { format } => list(*format),
    }
}

fn add(wanted: &AddArgs) -> anyhow::Result<()> {
    let password = wanted.password_stdin.then(read_password).transpose()?;
    let client = AdminClient::from_env()?;
    let request = AddUserRequest {
        email: wanted.email.clone(),
        user_id: wanted.user_id.clone(),
        password,
    };
    let text = client.post(USERS_PATH, &request, ADD_IN_DOUBT)?;
    let added: UserAdded<'_> = client.parsed(&text)?;
    print_key(&text, added.user_id, added.api_key, wanted.format)
}

fn set_password(user: &UserId) -> anyhow::Result<()> {
    let password = read_password()?;
    let client = AdminClient::from_env()?;
    let request = SetPasswordRequest {
        user_id: user.clone(),
        password,
    };
    let text = client.post(PASSWORD_PATH, &request, PASSWORD_IN_DOUBT)?;
    let set: PasswordSet = client.parsed(&text)?;
    print(|out| {
        writeln!(
            out,
            "password set; {} is logged out everywhere",
            set.user_id
        )
    })
}

fn set_email(user: &UserId, email: &Email) -> anyhow::Result<()> {
    let client = AdminClient::from_env()?;
    let request = SetEmailRequest {
        user_id: user.clone(),
        email: email.clone(),
    };
    let set: EmailSet = client.parsed(&client.post(EMAIL_PATH, &request, EMAIL_IN_DOUBT)?)?;
    print(|out| writeln!(out, "{} logs in as {}", set.user_id, set.email.as_str()))
}

/// Asks for the id once more: it cannot be undone.
fn confirm(user: &UserId) -> anyhow::Result<()> {
    let _ = write!(
        std::io::stderr(),
        "This removes {user} for good. Type the id again to confirm: "
    );
    let mut typed = String::new();
    let mut input = std::io::stdin().lock().take(CONFIRMATION_MAX);
    input.read_line(&mut typed).context("standard input")?;
    match typed.trim() == user.as_str() {
        true => Ok(()),
        false => bail!("that is not {user}; nothing was changed (--yes does not ask)"),
    }
}

fn remove(user: &UserId) -> anyhow::Result<()> {
    let client = AdminClient::from_env()?;
    let request = RemoveRequest {
        user_id: user.clone(),
    };
    let removed: UserRemoved =
        client.parsed(&client.post(REMOVE_PATH, &request, REMOVE_IN_DOUBT)?)?;
    print(|out| match &removed.pseudonym {
        Some(pseudonym) => writeln!(
            out,
            "removed {user}; the audit log calls the user {pseudonym}"
        ),
        None => writeln!(out, "nothing to do: {user} was removed before"),
    })
}

/// One line of standard input.
fn read_password() -> anyhow::Result<Password> {
    let mut text = String::with_capacity(PASSWORD_BYTES_MAX);
    let mut input = std::io::stdin().lock().take(PASSWORD_BYTES_MAX as u64);
    input.read_line(&mut text).context("standard input")?;
    let len = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(len);
    if text.is_empty() {
        bail!("no password on standard input");
    }
    Ok(Password::try_from(text)?)
}

fn list(format: Format) -> anyhow::Result<()> {
    let client = AdminClient::from_env()?;
    let mut after = String::new();
    loop {
        // User ids need no escaping in a query.
        let page: UserPage = client.get(&format!("{USERS_PATH}?limit={PAGE_MAX}&after={after}"))?;
        let reader = print_page(|out| {
            if after.is_empty() && format == Format::Text {
                writeln!(out, "USER_ID\tEMAIL\tKEY\tCREATED\tLAST_ROTATED\tLAST_USED")?;
            }
            page.users.iter().try_for_each(|user| match format {
                Format::Json => json_line(out, user),
                Format::Text => line(out, user),
            })
        })?;
        match page.next {
            Some(next) if reader == Reader::Here => after = next,
            _ => return Ok(()),
        }
    }
}

fn line(out: &mut impl Write, user: &UserEntry) -> std::io::Result<()> {
    let key = match &user.key {
        Some(key) => format!("…{}", key.hint.as_deref().unwrap_or("(no hint)")),
        None => "none".to_owned(),
    };
    writeln!(
        out,
        "{}\t{}\t{key}\t{}\t{}\t{}",
        user.user_id,
        user.email.as_deref().unwrap_or("-"),
        user.created_at,
        user.last_rotated_at.as_deref().unwrap_or("never"),
        user.key.as_ref().map_or("-", KeyEntry::last_use),
    )
}
