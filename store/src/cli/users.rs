//! `rekey-store users`: add and list, and set passwords.

use std::io::{BufRead, Read, Write};

use anyhow::{Context, bail};
use clap::Subcommand;
use rekey_protocol::UserId;

use super::client::{Client, InDoubt};
use super::{CLIENT_HELP, print, print_key};
use crate::api::{
    AddUserRequest, KeyEntry, PAGE_MAX, PASSWORD_PATH, PasswordSet, SetPasswordRequest, USERS_PATH,
    UserAdded, UserEntry, UserPage,
};
use crate::email::Email;
use crate::password::Password;

/// More than the longest password and a line's end take: 128 characters of four
/// bytes each.
const PASSWORD_BYTES_MAX: usize = 1024;

const ADD_IN_DOUBT: InDoubt = "whether the user was added is not known: repeat the command; if it says that the user exists already, it was, and nobody has seen the key: `rekey-store users list` tells the id, `rekey-store keys revoke --user ID` ends that key, and `rekey-store keys issue --user ID` gives another";

const PASSWORD_IN_DOUBT: InDoubt =
    "whether the password was set is not known: repeat the command, which does no harm if it was";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a user and print the first API key, this once
    #[command(after_help = CLIENT_HELP)]
    Add {
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
        #[arg(long)]
        json: bool,
    },
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
    /// List the users, in the order of their ids, with the hour (UTC) in which the
    /// active key was last used
    #[command(after_help = CLIENT_HELP)]
    List {
        /// Print JSON, one user per line
        #[arg(long)]
        json: bool,
    },
}

pub fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Add {
            email,
            user_id,
            password_stdin,
            json,
        } => add(email, user_id.as_ref(), *password_stdin, *json),
        Command::SetPassword { user, .. } => set_password(user),
        Command::List { json } => list(*json),
    }
}

fn add(
    email: &Email,
    user_id: Option<&UserId>,
    password_stdin: bool,
    json: bool,
) -> anyhow::Result<()> {
    let password = password_stdin.then(read_password).transpose()?;
    let client = Client::from_env()?;
    let request = AddUserRequest {
        email: email.clone(),
        user_id: user_id.cloned(),
        password,
    };
    let text = client.post(USERS_PATH, &request, ADD_IN_DOUBT)?;
    let added: UserAdded<'_> = client.parsed(&text)?;
    print_key(&text, added.user_id, added.api_key, json)
}

fn set_password(user: &UserId) -> anyhow::Result<()> {
    let password = read_password()?;
    let client = Client::from_env()?;
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

fn list(json: bool) -> anyhow::Result<()> {
    let client = Client::from_env()?;
    let mut after = String::new();
    loop {
        // User ids need no escaping in a query.
        let page: UserPage = client.get(&format!("{USERS_PATH}?limit={PAGE_MAX}&after={after}"))?;
        print(|out| {
            if after.is_empty() && !json {
                writeln!(out, "USER_ID\tEMAIL\tKEY\tCREATED\tLAST_ROTATED\tLAST_USED")?;
            }
            page.users.iter().try_for_each(|user| match json {
                true => {
                    serde_json::to_writer(&mut *out, user)?;
                    writeln!(out)
                }
                false => line(out, user),
            })
        })?;
        match page.next {
            Some(next) => after = next,
            None => return Ok(()),
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
