//! Which checksum secrets keys may be made with: those that no gateway refuses.
//!
//! The secret is changed one process at a time, so for a while they differ. Each
//! gateway tells what it accepts, by prints, with its polls. From these follows
//! what each may make keys with, and what the operator has to be told. Sans-IO:
//! knows no clock and no log. A gateway counts until its lease is over, and its
//! secrets with it, because afterwards it serves nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekey_protocol::{AcceptedSecrets, GatewayId, SecretPrint, SecretsAdvice};

use super::leases::Known;

/// The most gateways that are named in one warning.
const NAMED_MOST: usize = 8;

/// What is known of everybody's secrets.
#[derive(Debug, Clone, Default)]
pub struct FleetSecrets {
    /// The store's own, newest first; none where nobody makes keys here.
    own: Vec<SecretPrint>,
    gateways: BTreeMap<GatewayId, SecretsHolder>,
    /// The different lists among them: a few, however many gateways there are.
    lists: Vec<List>,
}

#[derive(Debug, Clone)]
struct SecretsHolder {
    accepted: Arc<AcceptedSecrets>,
    until: u64,
    /// What it was told last.
    advised: Option<SecretsAdvice>,
}

#[derive(Debug, Clone)]
struct List {
    accepted: Arc<AcceptedSecrets>,
    /// When the last gateway with it is gone.
    until: u64,
}

/// How the store's own secrets stand beside those of the gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretsStanding {
    /// Which of its secrets it makes keys with, counted from 0, the newest; none if
    /// each of them is refused by some gateway.
    pub place: Option<usize>,
    /// How many it has.
    pub own: usize,
    /// Gateways that refuse keys made with its newest secret.
    pub refusing: Gateways,
    /// Gateways whose newest secret it does not have.
    pub ahead: Gateways,
}

/// Which of the store's secrets keys may be made with now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usable {
    /// The one at this place, counted from 0, the newest.
    Secret(usize),
    /// No gateway has been heard of since the start.
    NotYet,
    /// Each of them is refused by some gateway.
    Nothing,
}

/// What a gateway told of its secrets, beside what it told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretsNews {
    /// It is as it was, or it told nothing.
    Same,
    /// It accepts other secrets than before, or was not known.
    Other,
}

/// Some gateways, the first few by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gateways {
    /// How many.
    pub count: usize,
    /// Some of them.
    pub named: Vec<GatewayId>,
}

impl SecretsStanding {
    /// Whether the operator has nothing to do.
    pub fn is_fine(&self) -> bool {
        self.place == Some(0) && self.ahead.count == 0
    }
}

impl Gateways {
    fn add(&mut self, gateway: GatewayId) {
        self.count += 1;
        if self.named.len() < NAMED_MOST {
            self.named.push(gateway);
        }
    }
}

impl FleetSecrets {
    /// These are the store's own.
    pub fn use_own(&mut self, own: Vec<SecretPrint>) {
        self.own = own;
    }

    /// A gateway asked, and counts until then.
    pub fn heard(
        &mut self,
        now: u64,
        gateway: GatewayId,
        told: Option<&AcceptedSecrets>,
        until: u64,
    ) -> SecretsNews {
        let known = self.gateways.get_mut(&gateway);
        let is_same = |told: &AcceptedSecrets| {
            let known = known.as_ref();
            known.is_some_and(|known| *known.accepted == *told)
        };
        let news = told.filter(|told| !is_same(told));
        let is_new = news.is_some();
        if let Some(told) = news {
            let accepted = self.list(now, told);
            let advised = None;
            self.gateways.insert(
                gateway,
                SecretsHolder {
                    accepted,
                    until,
                    advised,
                },
            );
        } else if let Some(known) = known {
            known.until = known.until.max(until);
        } else {
            return SecretsNews::Same;
        }
        self.keep(gateway, until);
        match is_new {
            true => SecretsNews::Other,
            false => SecretsNews::Same,
        }
    }

    /// The list that says the same, made if there is none.
    fn list(&mut self, now: u64, told: &AcceptedSecrets) -> Arc<AcceptedSecrets> {
        self.lists.retain(|list| now < list.until);
        if let Some(list) = self.lists.iter().find(|list| *list.accepted == *told) {
            return list.accepted.clone();
        }
        let accepted = Arc::new(told.clone());
        let (list, until) = (accepted.clone(), now);
        self.lists.push(List {
            accepted: list,
            until,
        });
        accepted
    }

    /// The gateway's list counts for as long as it does.
    fn keep(&mut self, gateway: GatewayId, until: u64) {
        let Some(known) = self.gateways.get(&gateway) else {
            return;
        };
        let accepted = &known.accepted;
        let mut lists = self.lists.iter_mut();
        match lists.find(|list| list.accepted == *accepted) {
            Some(list) => list.until = list.until.max(until),
            // Dropped when its gateways were away, and this one is back.
            None => self.lists.push(List {
                accepted: accepted.clone(),
                until,
            }),
        }
    }

    /// Forgets gateways that are gone.
    pub fn prune(&mut self, now: u64) {
        self.gateways.retain(|_, gateway| now < gateway.until);
        self.lists.retain(|list| now < list.until);
    }

    /// What this gateway is to be told: nothing before all gateways are known that may
    /// be there.
    pub fn advice(&self, now: u64, gateway: GatewayId, known: Known) -> SecretsAdvice {
        let holder = self.gateways.get(&gateway);
        let Some(holder) = holder.filter(|_| known == Known::All) else {
            return SecretsAdvice::default();
        };
        let accepted = &holder.accepted;
        let lists = self.lists.iter().filter(|list| now < list.until);
        let firsts = lists.filter_map(|list| list.accepted.prints.first());
        let mut firsts = firsts.chain(self.own.first());
        let prints = accepted.prints.iter();
        SecretsAdvice {
            settled: true,
            issue_with: prints.copied().find(|print| self.is_accepted(now, print)),
            behind: firsts.any(|first| !accepted.accept(first)),
        }
    }

    /// The same; it is on its way there.
    pub fn advise(&mut self, now: u64, gateway: GatewayId, known: Known) -> SecretsAdvice {
        let advice = self.advice(now, gateway, known);
        if let Some(holder) = self.gateways.get_mut(&gateway) {
            holder.advised = Some(advice);
        }
        advice
    }

    /// Whether this gateway knows already what it would be told now.
    pub fn is_advised(&self, now: u64, gateway: GatewayId, known: Known) -> bool {
        let Some(holder) = self.gateways.get(&gateway) else {
            return true;
        };
        known != Known::All || holder.advised == Some(self.advice(now, gateway, known))
    }

    /// Which of the store's own secrets to make a key with.
    pub fn usable(&self, now: u64, known: Known) -> Usable {
        // Of several nobody knows yet which one all accept.
        if known == Known::None && self.own.len() > 1 {
            return Usable::NotYet;
        }
        self.place(now).map_or(Usable::Nothing, Usable::Secret)
    }

    fn place(&self, now: u64) -> Option<usize> {
        let mut own = self.own.iter();
        own.position(|print| self.is_accepted(now, print))
    }

    /// How the store's own stand; none where nobody makes keys here. To be asked
    /// once all gateways are known.
    pub fn standing(&self, now: u64) -> Option<SecretsStanding> {
        let newest = self.own.first()?;
        let (mut refusing, mut ahead) = (Gateways::default(), Gateways::default());
        let here = self.gateways.iter();
        for (id, gateway) in here.filter(|(_, gateway)| now < gateway.until) {
            if !gateway.accepted.accept(newest) {
                refusing.add(*id);
            }
            let theirs = gateway.accepted.prints.first();
            if theirs.is_some_and(|print| !self.own.contains(print)) {
                ahead.add(*id);
            }
        }
        Some(SecretsStanding {
            place: self.place(now),
            own: self.own.len(),
            refusing,
            ahead,
        })
    }

    fn is_accepted(&self, now: u64, print: &SecretPrint) -> bool {
        let mut lists = self.lists.iter().filter(|list| now < list.until);
        lists.all(|list| list.accepted.accept(print))
    }
}

#[cfg(test)]
mod tests;
