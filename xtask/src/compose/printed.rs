//! What the one-shot prints for a person: a key, curl lines and a log-in to the
//! dashboard. Pastes the lines, and does not know what the answers mean.

use anyhow::{bail, ensure};
use rekey_protocol::HINT_LEN;

use super::curl::{self, Answer};
use super::project::Project;

/// A printed line as somebody sends it who has the key only.
pub(super) fn without_idempotency_key(line: &str) -> String {
    let header = " -H \"Idempotency-Key: ";
    let cut = line.split_once(header).and_then(|(before, rest)| {
        let (_, after) = rest.split_once('"')?;
        Some(format!("{before}{after}"))
    });
    cut.unwrap_or_else(|| line.to_owned())
}

/// What the one-shot printed.
pub(super) struct Printed {
    /// An API key.
    pub key: String,
    /// Calls the API behind the gateway.
    pub call: String,
    /// Calls the documented endpoint.
    pub regenerate: String,
    /// To the dashboard.
    pub login: Login,
}

impl Printed {
    /// Finds its parts.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let field = |name: &str| {
            let mut lines = text.lines().map(str::trim);
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.map(|value| value.trim().to_owned())
        };
        let curl = |part: &str| {
            let mut lines = text.lines().map(str::trim);
            lines.find(|line| line.starts_with("curl ") && line.contains(part))
        };
        let (key, call, regenerate) = (field("api_key"), curl("/v1/echo"), curl("-X POST"));
        let (Some(key), Some(call), Some(regenerate)) = (key, call, regenerate) else {
            bail!("the one-shot printed no key or no curl lines");
        };
        let login = ["dashboard", "email", "password"].map(field);
        let [Some(dashboard), Some(email), Some(password)] = login else {
            bail!("the one-shot printed no log-in to the dashboard");
        };
        Ok(Self {
            key,
            call: call.to_owned(),
            regenerate: regenerate.to_owned(),
            login: Login {
                dashboard,
                email,
                password,
            },
        })
    }

    /// Calls the API with a key, and expects this status.
    pub(super) fn call(&self, key: &str, status: u16) -> anyhow::Result<Answer> {
        self.paste(&self.call, key, status)
    }

    /// Calls the documented endpoint with a key, and expects this status.
    pub(super) fn regenerate(&self, key: &str, status: u16) -> anyhow::Result<Answer> {
        self.paste(&self.regenerate, key, status)
    }

    /// Pastes a line with `key` in the place of the printed key.
    pub(super) fn paste(&self, line: &str, key: &str, status: u16) -> anyhow::Result<Answer> {
        let answer = curl::paste(&line.replace(&self.key, key))?;
        ensure!(
            answer.status == status,
            "expected {status}, got {}: {}: {}",
            answer.status,
            line.replace(&self.key, "…"),
            answer.body.replace(&self.key, "…"),
        );
        Ok(answer)
    }
}

/// What the one-shot printed for a browser.
pub(super) struct Login {
    dashboard: String,
    email: String,
    /// Its user's.
    pub password: String,
}

impl Login {
    /// Logs in as a browser does, and finds the user's key, by its last four
    /// characters and without the rest.
    pub(super) fn shows(&self, project: &Project, key: &str) -> anyhow::Result<()> {
        let Self {
            dashboard,
            email,
            password,
        } = self;
        ensure!(
            *dashboard == project.dashboard(),
            "the printed log-in is for {dashboard}, and the published dashboard at {}",
            project.dashboard()
        );
        let logged_in = curl::paste(&format!(
            "curl \"{dashboard}/login\" -H \"Origin: {dashboard}\" \
             --data-urlencode \"email={email}\" --data-urlencode \"password={password}\""
        ))?;
        ensure!(
            logged_in.status == 303,
            "the printed log-in got {}",
            logged_in.status
        );
        let cookie = logged_in.header("set-cookie").split(';').next();
        let profile = curl::paste(&format!(
            "curl \"{dashboard}/settings/profile\" -H \"Cookie: {}\"",
            cookie.unwrap_or_default()
        ))?;
        ensure!(
            profile.status == 200,
            "logged in, the profile got {}",
            profile.status
        );
        let hint = key.get(key.len().saturating_sub(HINT_LEN)..);
        let masked = rekey_protocol::masked(hint.unwrap_or_default());
        ensure!(
            profile.body.contains(&masked) && !profile.body.contains(key),
            "the profile does not show the key as {masked}, or shows more of it"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sb_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

    #[test]
    fn a_header_is_left_out() {
        let line = "curl \"http://x/\" -H \"Idempotency-Key: a\" -H \"k: v\"";
        let without = "curl \"http://x/\" -H \"k: v\"";
        assert_eq!(without_idempotency_key(line), without);
        assert_eq!(without_idempotency_key(without), without);
    }

    #[test]
    fn the_one_shots_lines_are_found() {
        let curl = "curl \"http://x/v1/echo\" -H \"k\"\n  curl -X POST \"http://x/\"";
        let login = "dashboard  http://d\n  email      a+1@b\n  password   0a";
        let text = format!("noise\n  api_key  {KEY}\n  {curl}\n\n  {login}\n");
        let printed = Printed::parse(&text).unwrap();
        assert_eq!(printed.key, KEY);
        assert!(printed.call.starts_with("curl \"http://x/v1/echo\""));
        assert!(printed.regenerate.starts_with("curl -X POST"));
        let Login {
            dashboard,
            email,
            password,
        } = printed.login;
        assert_eq!([dashboard, email, password], ["http://d", "a+1@b", "0a"]);

        for missing in ["api_key ", "/v1/echo", "-X POST", "dashboard ", "password "] {
            let Err(error) = Printed::parse(&text.replace(missing, "")) else {
                panic!("parsed without {missing}");
            };
            let error = error.to_string();
            assert!(error.contains("the one-shot printed no"), "{error}");
            assert!(!error.contains(KEY), "{error}");
        }
    }
}
