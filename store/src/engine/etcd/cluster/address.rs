//! Where etcd is: `etcd://host:port,host:port/prefix`.

use std::fmt;
use std::str::FromStr;

/// The port that etcd listens on for clients, where an address names none.
const CLIENT_PORT: u16 = 2379;
/// What all keys begin with, where an address names nothing.
const PREFIX: &str = "rekey";

/// The members of one etcd, and what all keys of this store begin with.
///
/// `etcds://` says that the members are reached by TLS. A user may stand before the
/// members (`etcd://rekey@a:2379`); a password never, because it would be seen in the
/// list of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether they are reached by TLS.
    pub transport: Transport,
    /// As whom to log in.
    pub user: Option<String>,
    /// `host:port` of each.
    pub members: Vec<String>,
    /// What all keys begin with, with a slash at its end.
    pub prefix: String,
}

/// How members are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In the clear.
    Plain,
    /// By TLS.
    Tls,
}

/// Why a text is no address of etcd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// It begins with something else.
    #[error("it must begin with etcd:// or etcds://")]
    Scheme,
    /// A password.
    #[error(
        "a password must not be in the address, where the list of processes shows it; set REKEY_ETCD_PASSWORD"
    )]
    Password,
    /// A member that cannot be.
    #[error(
        "{0:?} is no member's address; a member is host:port, and members are separated by commas"
    )]
    Member(String),
    /// The same member twice.
    #[error("the member {0} is named twice")]
    Twice(String),
    /// A prefix that cannot be.
    #[error("{0:?} is no prefix; a prefix is 1 to 64 characters of A-Z a-z 0-9 . _ - /")]
    Prefix(String),
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (transport, rest) = match text.split_once("://") {
            Some(("etcd", rest)) => (Transport::Plain, rest),
            Some(("etcds", rest)) => (Transport::Tls, rest),
            _ => return Err(BadAddress::Scheme),
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, members) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(BadAddress::Password),
            Some((user, members)) => (Some(user.to_owned()), members),
            None => (None, authority),
        };
        let members: Vec<_> = members.split(',').map(member).collect::<Result<_, _>>()?;
        for (nth, name) in members.iter().enumerate() {
            if members
                .get(..nth)
                .is_some_and(|before| before.contains(name))
            {
                return Err(BadAddress::Twice(name.clone()));
            }
        }
        Ok(Self {
            transport,
            user: user.filter(|user| !user.is_empty()),
            members,
            prefix: whole_prefix(prefix)?,
        })
    }
}

/// A member with its port.
fn member(text: &str) -> Result<String, BadAddress> {
    let bad = || BadAddress::Member(text.to_owned());
    let (host, port) = match text.rsplit_once(':') {
        // `[::1]` has colons and no port.
        Some(_) if text.ends_with(']') => (text, CLIENT_PORT),
        Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
        None => (text, CLIENT_PORT),
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let in_brackets = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '[' | ']');
    let is_host = match is_bracketed {
        true => host.chars().all(in_brackets),
        false => !host.is_empty() && host.chars().all(allowed),
    };
    match is_host && port > 0 {
        true => Ok(format!("{host}:{port}")),
        false => Err(bad()),
    }
}

fn whole_prefix(text: &str) -> Result<String, BadAddress> {
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return Ok(format!("{PREFIX}/"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    match text.len() <= 64 && text.chars().all(allowed) {
        true => Ok(format!("{text}/")),
        false => Err(BadAddress::Prefix(text.to_owned())),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Plain => "etcd",
            Transport::Tls => "etcds",
        };
        write!(out, "{scheme}://{}/{}", self.members.join(","), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Address, BadAddress> {
        text.parse()
    }

    #[test]
    fn members_ports_users_and_prefixes() {
        let address = parsed("etcd://a,b:1,[::1]:2").unwrap();
        assert_eq!(address.members, ["a:2379", "b:1", "[::1]:2"]);
        assert_eq!((address.transport, address.user), (Transport::Plain, None));
        assert_eq!(address.prefix, "rekey/");
        let address = parsed("etcds://someone@10.0.0.1:2379/prod/keys/").unwrap();
        assert_eq!(address.transport, Transport::Tls);
        assert_eq!(address.user.as_deref(), Some("someone"));
        assert_eq!(address.prefix, "prod/keys/");
        assert_eq!(parsed("etcd://[::1]").unwrap().members, ["[::1]:2379"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let member = |text: &str| Err(BadAddress::Member(text.to_owned()));
        assert_eq!(parsed("http://a"), Err(BadAddress::Scheme));
        assert_eq!(parsed("etcd://u:p@a"), Err(BadAddress::Password));
        assert_eq!(parsed("etcd://"), member(""));
        assert_eq!(parsed("etcd://a,,b"), member(""));
        assert_eq!(parsed("etcd://a:x"), member("a:x"));
        assert_eq!(parsed("etcd://a:0"), member("a:0"));
        assert_eq!(parsed("etcd://a b:1"), member("a b:1"));
        assert_eq!(
            parsed("etcd://a,a:2379"),
            Err(BadAddress::Twice("a:2379".into()))
        );
        assert_eq!(parsed("etcd://a/ü"), Err(BadAddress::Prefix("ü".into())));
    }
}
