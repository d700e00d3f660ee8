//! An e-mail address as far as a key store needs one: to tell users apart and
//! to show it in a line. Only a mail proves that it exists.

use serde::{Deserialize, Serialize};

use crate::accounts::typed;

/// `local@domain`, at most 254 bytes (RFC 5321, erratum 1690), without white
/// space, control characters, commas, double quotes or angle brackets: those come
/// from lists and letters that were copied with something around the address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

/// The text is no e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address: it must be like name@example.com, at most 254 characters")]
pub struct InvalidEmail;

impl Email {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which it is compared.
    pub fn normal(&self) -> String {
        typed::address(&self.0)
    }
}

impl TryFrom<String> for Email {
    type Error = InvalidEmail;

    fn try_from(text: String) -> Result<Self, InvalidEmail> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || ",;:\"<>()\\".contains(c);
        let parts = text.split_once('@').is_some_and(|(local, domain)| {
            let dots = domain.starts_with('.') || domain.ends_with('.') || domain.contains("..");
            !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !dots
        });
        if !parts || text.len() > 254 || text.chars().any(odd) {
            return Err(InvalidEmail);
        }
        // A second "at", of an East Asian keyboard, or nothing that can be seen.
        let normal = typed::address(&text);
        let is_one = normal.matches('@').count() == 1;
        if !is_one || normal.starts_with('@') || normal.ends_with('@') {
            return Err(InvalidEmail);
        }
        Ok(Self(text))
    }
}

impl std::str::FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        Self::try_from(text.to_owned())
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "a@b",
            "first.last+tag@example.com",
            "o'brien@example.com",
            "d'Arcy-O'Neill@example.ie",
            "!#$%&'*+-/=?^_`{|}~@example.com",
            "ü@example.com",
            "o’brien@example.com",
            "ann@例え.テスト",
            "ann@xn--r8jz45g.xn--zckzah",
        ] {
            assert!(good.parse::<Email>().is_ok(), "{good}");
        }
        let long = format!("{}@example.com", "x".repeat(250));
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@.b",
            "a@b.",
            "a@b..c",
            "a\n@b",
            "a,b@c",
            "<a@b>",
            "a＠b@c",
            "\u{200b}@b",
            "a@\u{ad}",
            &long,
        ] {
            assert!(bad.parse::<Email>().is_err(), "{bad}");
        }
    }
}
