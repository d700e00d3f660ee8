//! Which checksum secret new keys are made with: one whose keys every gateway
//! accepts, as the store advises with the answers to polls.
//!
//! The advice is one entry of shared data, because one worker polls and all make
//! keys. It holds the place of a secret in our list, never a secret.

use rekey_protocol::{AcceptedSecrets, SecretPrint, SecretsAdvice};

use crate::config::{ChecksumPolicy, Config};
use crate::host::env::SharedData;
use crate::host::metrics::Gauge;
use crate::host::outbox::{LogLevel, Outbox};
use crate::shared::entry::{Entries, Layout, Next, Schema, Unreadable};

/// In an entry instead of a place: keys of each of our secrets are refused
/// somewhere.
const NOWHERE: u8 = u8::MAX;

/// The advice for all workers, and what this one last saw of it.
pub(crate) struct Issuing {
    entries: Entries<Advice>,
    prints: Vec<SecretPrint>,
    seen: Advice,
}

/// What follows from the store's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Advice {
    /// Which of our secrets keys are made with, counted from 0, the newest.
    place: Option<usize>,
    /// Whether keys with a checksum that is wrong here may be good.
    is_behind: bool,
}

/// What the store is told of the secrets of this configuration.
pub(crate) fn accepted(config: &Config) -> AcceptedSecrets {
    AcceptedSecrets {
        prints: config.secrets.prints(),
        any: config.checksum == ChecksumPolicy::Off,
    }
}

impl Issuing {
    /// What is known before the store has spoken.
    pub(crate) fn new(entries: Entries<Advice>, config: &Config) -> Self {
        let prints = config.secrets.prints();
        Self {
            entries,
            // Nobody knows which of several all accept.
            seen: Advice {
                place: (prints.len() == 1).then_some(0),
                is_behind: false,
            },
            prints,
        }
    }

    /// Which of our secrets to make a key with, counted from 0, the newest; none if
    /// some gateway would refuse it whichever it were, or nobody knows yet.
    pub(crate) fn place(&mut self, shared: &mut dyn SharedData) -> Option<usize> {
        self.look(shared);
        self.seen.place
    }

    /// Whether a key with a wrong checksum may be good, because the store or another
    /// gateway has a secret that is not among ours: as of the last tick.
    pub(crate) fn is_behind(&self) -> bool {
        self.seen.is_behind
    }

    /// Time passed: looks at what the worker that polls has written down.
    pub(crate) fn tick(&mut self, shared: &mut dyn SharedData, out: &mut Outbox) {
        self.look(shared);
        let place = self.seen.place.map_or(0, |place| place as u64 + 1);
        out.show(Gauge::ChecksumSecretInUse, place);
        out.show(Gauge::ChecksumSecretsBehind, self.seen.is_behind.into());
    }

    /// A poll was answered; without advice by a store that does not compare secrets,
    /// where nobody knows better than the operator.
    pub(crate) fn advised(
        &mut self,
        advice: Option<SecretsAdvice>,
        shared: &mut dyn SharedData,
        out: &mut Outbox,
    ) {
        let advice = match advice {
            None => Advice {
                place: Some(0),
                is_behind: false,
            },
            Some(advice) if advice.settled => Advice {
                place: advice.issue_with.and_then(|print| self.place_of(print)),
                is_behind: advice.behind,
            },
            Some(_) => return,
        };
        let written = self.entries.only().update(shared, |held| {
            if held == Some(advice) {
                return Next::Keep(false);
            }
            Next::Write(advice, true)
        });
        let before = std::mem::replace(&mut self.seen, advice);
        if written == Ok(true) {
            self.say(before, out);
        }
    }

    fn look(&mut self, shared: &mut dyn SharedData) {
        let held = self.entries.only().read(shared).ok().flatten();
        if let Some(advice) = held {
            self.seen = advice;
        }
    }

    fn place_of(&self, print: SecretPrint) -> Option<usize> {
        self.prints.iter().position(|own| *own == print)
    }

    /// Tells the operator of a change: once, by the worker that heard of it.
    fn say(&self, before: Advice, out: &mut Outbox) {
        let Advice { place, is_behind } = self.seen;
        let own = self.prints.len();
        match place {
            Some(0) if before.place != Some(0) => out.log(
                LogLevel::Info,
                "REKEY_CHECKSUM_SECRET: keys are made with the newest secret, because all gateways \
                 accept it"
                    .to_owned(),
            ),
            Some(0) => {}
            Some(place) => out.log(
                LogLevel::Warn,
                format!(
                    "REKEY_CHECKSUM_SECRET: another gateway refuses keys made with the newest \
                     secret, so keys are made with secret {} of {own} until it knows it: let all \
                     gateways have it at the end of their lists first",
                    place + 1
                ),
            ),
            None => out.log(
                LogLevel::Error,
                format!(
                    "REKEY_CHECKSUM_SECRET: each of the {own} secrets here is refused by another \
                     gateway, so no keys are made (503): give all gateways one secret in common"
                ),
            ),
        }
        if is_behind && !before.is_behind {
            out.log(
                LogLevel::Warn,
                "REKEY_CHECKSUM_SECRET: the key store or another gateway has a secret first that \
                 this gateway does not have, so the store is asked about keys with a wrong \
                 checksum, too: give this gateway the same secrets"
                    .to_owned(),
            );
        }
        if !is_behind && before.is_behind {
            out.log(
                LogLevel::Info,
                "REKEY_CHECKSUM_SECRET: this gateway has the secrets of the others again"
                    .to_owned(),
            );
        }
    }
}

impl Layout for Advice {
    const SCHEMA: Schema = Schema {
        table: "issuing",
        version: 1,
        unreadable: Unreadable::IsReplaced,
    };

    fn encode(&self) -> Vec<u8> {
        let place = self.place.and_then(|place| u8::try_from(place).ok());
        vec![place.unwrap_or(NOWHERE), self.is_behind.into()]
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let [place, is_behind] = *value else {
            return None;
        };
        Some(Self {
            place: (place != NOWHERE).then_some(place.into()),
            is_behind: is_behind != 0,
        })
    }
}
