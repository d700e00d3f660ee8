//! Pasting a printed curl line into a shell, and reading the answer. Knows HTTP's
//! form, not what the answers mean.

use std::process::Command;

use anyhow::Context;

use rekey_testbed::shell;

/// What curl received.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The HTTP status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: String,
}

impl Answer {
    /// A header's value by its lower-case name; empty if there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(this, _)| this == name);
        found.map_or("", |(_, value)| value)
    }

    /// Parses what `curl --include` prints.
    fn parse(printed: &str) -> anyhow::Result<Self> {
        let (head, body) = printed
            .split_once("\r\n\r\n")
            .context("no end of headers")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers = lines.filter_map(|line| line.split_once(':'));
        Ok(Self {
            status: status.context("no status line")?.parse()?,
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            body: body.to_owned(),
        })
    }
}

/// Runs a line as it was printed, by bash, with options appended that let the
/// status and the headers be seen.
///
/// # Errors
/// curl failed, or printed no HTTP answer. The line holds a key and is not told.
pub(super) fn paste(line: &str) -> anyhow::Result<Answer> {
    let script = format!("{line} --include --silent --show-error --max-time 20");
    let mut bash = Command::new("bash");
    // By a variable: an error quotes the command's arguments.
    let printed = shell::output(bash.arg("-c").arg("eval \"$LINE\"").env("LINE", script))
        .context("a printed curl line failed")?;
    Answer::parse(&printed).context("curl printed no HTTP answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let printed = "HTTP/1.1 429 Too Many\r\nRetry-After:  7\r\nx: a:b\r\n\r\n{\r\n\r\n}";
        let answer = Answer::parse(printed).unwrap();
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("retry-after"), "7");
        assert_eq!(answer.header("x"), "a:b");
        assert_eq!(answer.header("absent"), "");
        assert_eq!(answer.body, "{\r\n\r\n}");
    }

    #[test]
    fn nonsense_is_no_answer() {
        for printed in ["", "HTTP/1.1 200 OK", "\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
            assert!(Answer::parse(printed).is_err(), "{printed:?}");
        }
    }

    #[test]
    fn a_failing_line_does_not_tell_the_key() {
        let error = paste("false \"sb_live_secret\" #").unwrap_err();
        assert!(!format!("{error:#}").contains("sb_live"), "{error:#}");
    }
}
