//! `rekey-store users`: add and list.

use std::io::Write;

use clap::Subcommand;
use rekey_protocol::UserId;

use super::{CLIENT_HELP, client::Client, print, print_key};
use crate::api::{AddUserRequest, PAGE_MAX, USERS_PATH, UserAdded, UserEntry, UserPage};
use crate::email::Email;

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
        /// Print JSON: {"user_id","email","api_key","created_at"}
        #[arg(long)]
        json: bool,
    },
    /// List the users, in the order of their ids
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
            json,
        } => add(email, user_id.as_ref(), *json),
        Command::List { json } => list(*json),
    }
}

fn add(email: &Email, user_id: Option<&UserId>, json: bool) -> anyhow::Result<()> {
    let client = Client::from_env()?;
    let request = AddUserRequest {
        email: email.clone(),
        user_id: user_id.cloned(),
    };
    let text = client.post(USERS_PATH, &request)?;
    let added: UserAdded<'_> = client.parsed(&text)?;
    print_key(&text, added.user_id, added.api_key, json)
}

fn list(json: bool) -> anyhow::Result<()> {
    let client = Client::from_env()?;
    let mut after = String::new();
    loop {
        // User ids need no escaping in a query.
        let page: UserPage = client.get(&format!("{USERS_PATH}?limit={PAGE_MAX}&after={after}"))?;
        print(|out| {
            if after.is_empty() && !json {
                writeln!(out, "USER_ID\tEMAIL\tKEY\tCREATED\tLAST_ROTATED")?;
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
        "{}\t{}\t{key}\t{}\t{}",
        user.user_id,
        user.email.as_deref().unwrap_or("-"),
        user.created_at,
        user.last_rotated_at.as_deref().unwrap_or("never"),
    )
}
