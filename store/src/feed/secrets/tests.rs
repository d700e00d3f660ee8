//! Fleets whose secrets are changed, in the right order and in wrong ones.

use super::*;

const A: GatewayId = GatewayId([1; 16]);
const B: GatewayId = GatewayId([2; 16]);
const OLD: SecretPrint = SecretPrint([1; 8]);
const NEW: SecretPrint = SecretPrint([2; 8]);
/// When a lease of these tests is over.
const GONE: u64 = 1_000;

fn list(prints: &[SecretPrint]) -> AcceptedSecrets {
    AcceptedSecrets {
        prints: prints.to_vec(),
        any: false,
    }
}

/// A store with these secrets and two gateways with those.
fn fleet(own: &[SecretPrint], a: &[SecretPrint], b: &[SecretPrint]) -> FleetSecrets {
    let mut secrets = FleetSecrets::default();
    secrets.use_own(own.to_vec());
    assert_eq!(
        secrets.heard(0, A, Some(&list(a)), GONE),
        SecretsNews::Other
    );
    assert_eq!(
        secrets.heard(0, B, Some(&list(b)), GONE),
        SecretsNews::Other
    );
    secrets
}

/// What everybody makes keys with: A, B, the store.
fn issuing(secrets: &FleetSecrets) -> [Option<SecretPrint>; 3] {
    let own = secrets.place(0).map(|place| secrets.own[place]);
    let [a, b] = [A, B].map(|gateway| secrets.advice(0, gateway, Known::All).issue_with);
    [a, b, own]
}

fn behind(secrets: &FleetSecrets) -> [bool; 2] {
    [A, B].map(|gateway| secrets.advice(0, gateway, Known::All).behind)
}

#[test]
fn in_the_documented_order_nobody_is_ever_behind() {
    let (old, learnt) = (&[OLD][..], &[OLD, NEW][..]);
    let (changed, new) = (&[NEW, OLD][..], &[NEW][..]);
    let steps = [
        ([old, old, old], OLD),
        ([learnt, old, old], OLD),
        ([learnt, learnt, old], OLD),
        ([learnt, learnt, learnt], OLD),
        ([changed, learnt, learnt], OLD),
        ([changed, changed, learnt], OLD),
        ([changed, changed, changed], NEW),
        ([new, changed, changed], NEW),
        ([new, new, changed], NEW),
        ([new, new, new], NEW),
    ];
    for ([store, a, b], last) in steps {
        let secrets = fleet(store, a, b);
        assert_eq!(behind(&secrets), [false, false], "{store:?} {a:?} {b:?}");
        let made = issuing(&secrets).map(Option::unwrap);
        for print in made {
            assert!(list(a).accept(&print) && list(b).accept(&print));
        }
        assert_eq!(made[1], last);
    }
}

#[test]
fn a_step_that_was_skipped_is_waited_for() {
    // The old order: the new secret goes first at once.
    let secrets = fleet(&[OLD], &[NEW, OLD], &[OLD]);
    assert_eq!(issuing(&secrets), [Some(OLD); 3]);
    assert_eq!(behind(&secrets), [false, true]);
    // The store is the one that is ahead.
    let secrets = fleet(&[NEW, OLD], &[OLD], &[OLD]);
    assert_eq!(issuing(&secrets), [Some(OLD); 3]);
    let standing = secrets.standing(0).unwrap();
    assert_eq!((standing.place, standing.refusing.count), (Some(1), 2));
    assert_eq!(standing.refusing.named, [A, B]);
    assert!(!standing.is_fine());
}

#[test]
fn a_secret_that_was_dropped_too_early_is_not_used_any_more() {
    let secrets = fleet(&[OLD, NEW], &[NEW], &[OLD, NEW]);
    assert_eq!(issuing(&secrets), [Some(NEW); 3]);
    assert_eq!(behind(&secrets), [true, false]);
}

#[test]
fn without_a_common_secret_nobody_makes_keys() {
    let mut secrets = fleet(&[NEW, OLD], &[NEW], &[OLD]);
    assert_eq!(issuing(&secrets), [None; 3]);
    assert_eq!(behind(&secrets), [true, true]);
    assert_eq!(secrets.standing(0).unwrap().place, None);
    // When the other one is gone, there is one.
    assert_eq!(secrets.place(GONE), Some(0));
    secrets.heard(0, A, None, 2 * GONE);
    let advice = secrets.advice(GONE, A, Known::All);
    assert_eq!((advice.issue_with, advice.behind), (Some(NEW), false));
}

#[test]
fn a_store_that_is_behind_makes_keys_that_all_accept() {
    let secrets = fleet(&[OLD], &[NEW, OLD], &[NEW, OLD]);
    assert_eq!(issuing(&secrets), [Some(NEW), Some(NEW), Some(OLD)]);
    let standing = secrets.standing(0).unwrap();
    assert_eq!((standing.refusing.count, standing.ahead.count), (0, 2));
}

#[test]
fn another_order_harms_nobody() {
    let secrets = fleet(&[OLD, NEW], &[NEW, OLD], &[OLD, NEW]);
    assert_eq!(issuing(&secrets), [Some(NEW), Some(OLD), Some(OLD)]);
    assert_eq!(behind(&secrets), [false, false]);
}

#[test]
fn who_accepts_any_checksum_holds_nobody_back() {
    let mut secrets = fleet(&[NEW, OLD], &[NEW, OLD], &[NEW]);
    let any = AcceptedSecrets {
        any: true,
        ..list(&[OLD])
    };
    assert_eq!(secrets.heard(0, B, Some(&any), GONE), SecretsNews::Other);
    assert_eq!(issuing(&secrets)[2], Some(NEW));
    assert!(!secrets.advice(0, B, Known::All).behind);
    // What it told before counts until that would have been over.
    assert_eq!(secrets.advice(0, B, Known::All).issue_with, None);
    secrets.heard(0, A, None, 2 * GONE);
    secrets.heard(0, B, None, 2 * GONE);
    assert_eq!(secrets.advice(GONE, B, Known::All).issue_with, Some(OLD));
}

#[test]
fn who_tells_nothing_is_advised_nothing() {
    let mut secrets = fleet(&[NEW], &[NEW], &[NEW]);
    let other = GatewayId([3; 16]);
    assert_eq!(secrets.heard(0, other, None, GONE), SecretsNews::Same);
    assert_eq!(
        secrets.advice(0, other, Known::All),
        SecretsAdvice::default()
    );
    assert!(secrets.is_advised(0, other, Known::All));
}

#[test]
fn until_any_gateway_is_known_one_of_several_is_not_guessed() {
    let mut secrets = FleetSecrets::default();
    secrets.use_own(vec![NEW, OLD]);
    assert_eq!(secrets.usable(0, Known::None), Usable::NotYet);
    assert_eq!(secrets.usable(0, Known::Some), Usable::Secret(0));
    secrets.use_own(vec![NEW]);
    assert_eq!(secrets.usable(0, Known::None), Usable::Secret(0));
    let secrets = fleet(&[NEW], &[OLD], &[OLD]);
    assert_eq!(secrets.usable(0, Known::Some), Usable::Nothing);
    assert_eq!(secrets.advice(0, A, Known::Some), SecretsAdvice::default());
}

#[test]
fn news_reaches_who_was_told_otherwise() {
    let mut secrets = fleet(&[NEW, OLD], &[NEW, OLD], &[NEW, OLD]);
    assert!(!secrets.is_advised(0, A, Known::All));
    secrets.advise(0, A, Known::All);
    assert!(secrets.is_advised(0, A, Known::All));
    assert_eq!(
        secrets.heard(0, B, Some(&list(&[OLD])), GONE),
        SecretsNews::Other
    );
    assert!(
        !secrets.is_advised(0, A, Known::All),
        "a key of NEW would be refused"
    );
}
