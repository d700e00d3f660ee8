//! Regenerating the key by a form: one rotation, one key, shown once, and the
//! same hour as the API's.

use std::sync::Barrier;

use rekey_protocol::{ApiKey, ChecksumSecrets, Digest};
use serde_json::json;

use crate::dashboard::person::{Form, Person};
use crate::dashboard::{
    PROFILE, REGENERATE, add_user, events, forged, fresh_ticket, leads_to, logged_in, serve, start,
    start_behind_a_proxy, state,
};
use crate::process::{Answer, CHECKSUM_SECRET, Home, Store, fresh_digest, rotation};

/// The documented API's own text.
pub(super) const RATE_LIMITED: &str =
    "You can only regenerate your API key once per hour. Please try again later.";
const ROTATED: &str = "SELECT count(*) FROM audit WHERE action = 'rotated'";
const USED: &str = "This form was used already.";

/// The key that is shown.
pub(super) fn shown(answer: &Answer) -> Digest {
    assert_eq!(answer.status, 200, "{answer:?}");
    Digest::of(answer.element("api-key").unwrap().as_bytes())
}

/// Says so, and when it is allowed.
pub(super) fn is_limited(answer: &Answer) {
    assert_eq!((answer.status, answer.error()), (429, RATE_LIMITED));
    waits_an_hour(answer);
    assert!(answer.element("api-key").is_none());
}

/// Says to programs and to people that it is allowed within the hour.
pub(super) fn waits_an_hour(answer: &Answer) {
    let seconds = answer.header("retry-after").unwrap();
    assert!((3000..=3600).contains(&seconds.parse().unwrap()));
    let countdown = format!("data-countdown=\"{seconds}\"");
    assert!(answer.text.contains(&countdown), "{}", answer.text);
}

/// Refused because the page is of an earlier key.
pub(super) fn is_outdated(answer: &Answer) {
    conflicts(answer, "Your key was replaced or revoked since");
}

/// Refused for that reason.
pub(super) fn conflicts(answer: &Answer, text: &str) {
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.error().starts_with(text), "{}", answer.error());
    assert!(answer.element("api-key").is_none());
}

pub(super) fn is_state(store: &Store, digest: &Digest, state: &str) {
    assert_eq!(store.resolve(digest).json()["state"], state);
}

/// A store whose hour is a second.
pub(super) fn quick(home: &Home) -> Store {
    home.start_as(serve(home).args(["--rotation-interval", "1s"]))
}

/// Rotates by the API, and waits for the second to be over.
pub(super) fn rotate_and_wait(store: &Store, old: &Digest) -> Digest {
    let new = fresh_digest();
    let answer = store.rotate(&rotation(old, &new)).json();
    assert_eq!(answer["outcome"], "rotated");
    store.await_allowed(&new);
    new
}

#[test]
fn a_form_makes_one_rotation_and_shows_the_key_once() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann").from("192.0.2.9");
    let hint = &user.key[36..];
    let masked = format!("sb_live_…{hint}");
    let profile = ann.get(PROFILE);
    assert_eq!(profile.element("masked-key"), Some(masked.as_str()));
    assert_eq!(profile.element("next-rotation"), Some("possible now"));
    assert!(!profile.text.contains(&user.key[..36]));

    let form = ann.regeneration();
    let answer = ann.submit(&form);
    let digest = shown(&answer);
    let notice = "API key regenerated successfully. Your old key is now invalid.";
    assert_eq!(answer.element("notice"), Some(notice));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let key = ApiKey::parse(answer.element("api-key").unwrap().as_bytes()).unwrap();
    let secrets = ChecksumSecrets::parse(CHECKSUM_SECRET).unwrap();
    assert!(secrets.verify(&key));
    is_state(&store, &user.digest, "revoked");
    let resolved = store.resolve(&digest).json();
    assert_eq!(
        (&resolved["state"], &resolved["user"]),
        (&json!("active"), &json!("ann"))
    );

    let told = events(&store, "ann", "rotated");
    assert_eq!(told.len(), 1);
    for (name, value) in [
        ("source", "dashboard"),
        ("client_address", "192.0.2.9"),
        ("hint", key.hint()),
        ("rotation_id", form.field("ticket")),
        ("old_digest", &user.digest.to_hex()),
        ("new_digest", &digest.to_hex()),
    ] {
        assert_eq!(told[0][name], value, "{name}");
    }
    let outcome = "rotations_total{outcome=\"rotated\"}";
    assert_eq!(store.metric(outcome), Some(1));

    // Never again, by whatever page.
    let before = state(&home);
    let again = ann.submit(&form);
    conflicts(&again, USED);
    for answer in [again, ann.get(PROFILE), ann.get(REGENERATE)] {
        assert!(!answer.text.contains(key.expose()));
    }
    assert_eq!(state(&home), before);
    let masked = format!("sb_live_…{}", key.hint());
    let profile = ann.get(PROFILE);
    assert_eq!(profile.element("masked-key"), Some(masked.as_str()));
    assert!(profile.text.contains("Key regenerated in the dashboard"));
}

#[test]
fn i5_the_hour_is_one_for_the_dashboard_and_the_api() {
    let home = Home::new();
    let store = start(&home);
    let [by_api, by_form] = ["ann", "bob"].map(|id| add_user(&store, id));
    let (ann, bob) = (logged_in(&store, "ann"), logged_in(&store, "bob"));
    let form = ann.regeneration();
    let new = fresh_digest();
    store.rotate(&rotation(&by_api.digest, &new));
    is_limited(&ann.submit(&form));
    is_limited(&ann.get(REGENERATE));
    assert!(!ann.get(REGENERATE).offers(REGENERATE));
    is_state(&store, &new, "active");

    let new = shown(&bob.submit(&bob.regeneration()));
    let answer = store.rotate(&rotation(&new, &fresh_digest())).json();
    assert_eq!(answer["outcome"], "rate_limited");
    assert!((3000..=3600).contains(&answer["retry_after"].as_u64().unwrap()));
    is_limited(&bob.submit(&forged(&bob, REGENERATE)));
    is_state(&store, &new, "active");
    is_state(&store, &by_form.digest, "revoked");
    assert_eq!(home.count(ROTATED), 2);
}

#[test]
fn another_interval_than_the_hour_is_called_by_its_name() {
    let home = Home::new();
    let store = home.start_as(serve(&home).args(["--rotation-interval", "10m"]));
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.regeneration();
    let new = shown(&ann.submit(&form));
    let text =
        "You can only regenerate your API key once every 10 minutes. Please try again later.";
    for answer in [ann.get(REGENERATE), ann.submit(&forged(&ann, REGENERATE))] {
        assert_eq!((answer.status, answer.error()), (429, text));
        assert!(answer.text.contains("revoke it now"), "{}", answer.text);
    }
    // The gateways are told, because they say the same.
    let by_api = store.rotate(&rotation(&new, &fresh_digest())).json();
    assert_eq!(by_api["rotation_interval"], 600);
    assert_eq!(store.resolve(&new).json()["rotation_interval"], 600);
}

/// All at once; the answers.
fn race(person: &Person, forms: &[Form]) -> Vec<Answer> {
    let start = Barrier::new(forms.len());
    let send = |form: &Form| {
        start.wait();
        person.submit(form)
    };
    std::thread::scope(|scope| {
        let racers = forms.iter().map(|form| scope.spawn(|| send(form)));
        let racers: Vec<_> = racers.collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    })
}

/// One of eight answers shows a key, which is returned; all others are told something.
fn won_by_one(answers: &[Answer], told: impl Fn(&Answer)) -> Digest {
    let is_winner = |answer: &&Answer| answer.status == 200;
    let (with, without): (Vec<_>, Vec<_>) = answers.iter().partition(is_winner);
    assert_eq!((with.len(), without.len()), (1, 7));
    without.into_iter().for_each(told);
    shown(with[0])
}

#[test]
fn i3_one_form_sent_eight_times_at_once_makes_one_key_that_is_shown_once() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let forms = vec![ann.regeneration(); 8];
    let key = won_by_one(&race(&ann, &forms), |loser| conflicts(loser, USED));
    is_state(&store, &key, "active");
    assert_eq!(home.count(ROTATED), 1);
}

#[test]
fn i3_of_eight_forms_at_once_one_wins_and_the_others_are_told_the_hour() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let forms: Vec<_> = (0..8).map(|_| ann.regeneration()).collect();
    let key = won_by_one(&race(&ann, &forms), is_limited);
    is_state(&store, &key, "active");
    assert_eq!(home.count(ROTATED), 1);
    assert_eq!(home.count("SELECT count(*) FROM keys"), 2);
}

#[test]
fn a_page_of_an_earlier_key_leaves_the_present_one_alone() {
    let home = Home::new();
    let store = quick(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let stale = ann.regeneration();
    let present = rotate_and_wait(&store, &user.digest);
    let before = state(&home);
    is_outdated(&ann.submit(&stale));
    assert_eq!(state(&home), before);
    // Opened anew, it does what it says, and the refused form's ticket, too.
    let fresh = ann.regeneration();
    assert_ne!(fresh.field("key"), stale.field("key"));
    shown(&ann.submit(&stale.with("key", fresh.field("key"))));
    is_state(&store, &present, "revoked");
}

#[test]
fn without_a_key_there_is_nothing_to_regenerate() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let stale = ann.regeneration();
    let body = r#"{"user_id":"ann"}"#;
    assert_eq!(
        store.admin("POST", "/v1/keys/revoke", Some(body)).status,
        200
    );
    let before = state(&home);
    conflicts(&ann.submit(&stale), "You have no active API key.");
    let answer = ann.get(REGENERATE);
    leads_to(&answer, PROFILE);
    assert_eq!(state(&home), before);
}

#[test]
fn what_another_users_page_holds_does_nothing() {
    let home = Home::new();
    let store = start(&home);
    let [_, of_bob] = ["ann", "bob"].map(|id| add_user(&store, id));
    let (ann, bob) = (logged_in(&store, "ann"), logged_in(&store, "bob"));
    let (anns, bobs) = (ann.regeneration(), bob.regeneration());
    let new = shown(&ann.submit(&anns));
    let before = state(&home);
    // The form as it is, and with what of it fits.
    assert_eq!(bob.submit(&anns).status, 403);
    let ticket = anns.field("ticket");
    conflicts(&bob.submit(&bobs.clone().with("ticket", ticket)), USED);
    let csrf = anns.field("csrf");
    assert_eq!(bob.submit(&bobs.clone().with("csrf", csrf)).status, 403);
    assert_eq!(state(&home), before);
    is_state(&store, &new, "active");
    is_state(&store, &of_bob.digest, "active");
    shown(&bob.submit(&bobs));
}

#[test]
fn a_form_that_is_not_whole_changes_nothing() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.regeneration();
    let before = state(&home);
    for bad in [
        form.clone().without("ticket"),
        form.clone().without("key"),
        form.clone().with("ticket", ""),
        form.clone().with("ticket", &"x".repeat(32)),
        form.clone().with("ticket", &fresh_ticket()[1..]),
        form.clone().with("key", ""),
        form.clone().with("key", "-1"),
        form.clone().with("key", "99999999999999999999"),
    ] {
        let answer = ann.submit(&bad);
        assert_eq!(answer.status, 400, "{}", bad.body());
    }
    assert_eq!(state(&home), before);
    shown(&ann.submit(&form));
}
