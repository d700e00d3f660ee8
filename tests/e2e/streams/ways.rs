//! All ways of replacing or revoking a key end its streams, at every gateway.

use rekey_testbed::FleetOptions;

use super::{all_are_cut, open};
use crate::support::dashboard::{Visitor, hidden_field};
use crate::support::fleet::{self, TestFleet};
use crate::support::wire::streams::{Kind, Stream, Streams};

const KINDS: [Kind; 3] = [Kind::WebSocket, Kind::Upload, Kind::Grpc];
const PASSWORD: &str = "correct horse battery staple";

/// Has streams open with a key, and with another one, and kills the first.
fn ends_streams(kill: impl FnOnce(&TestFleet, &rekey_testbed::Account)) {
    let two = FleetOptions {
        gateways: 2,
        ..FleetOptions::default()
    };
    let fleet = fleet::start(two);
    let client = Streams::new(200);
    let user = fleet.store.add_login("ada@example.com", PASSWORD).unwrap();
    let other = fleet.user();
    let both = [0, 1];
    let open = |key: &str| -> Vec<_> {
        let at = |gateway| open(&fleet, gateway, &client, &KINDS, (key, 3));
        both.into_iter().flat_map(at).collect()
    };
    let (old, others) = (open(&user.api_key), open(&other.api_key));
    kill(&fleet, &user);
    all_are_cut(&old);
    assert!(others.iter().all(Stream::is_open));
    fleet.assert_no_trap();
}

#[test]
fn revoked_by_the_operator() {
    ends_streams(|fleet, user| {
        let mut command = fleet.store.cli();
        command.args(["keys", "revoke", "--user", &user.user_id]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    });
}

fn by_a_form(fleet: &TestFleet, page: &str, fields: &[&str]) {
    let home = fleet.store.dashboard_url();
    let visitor = Visitor::log_in(&home, "ada@example.com", PASSWORD);
    let form = visitor.open(page).body;
    let value = |name: &&str| ((*name).to_owned(), hidden_field(&form, name));
    let fields: Vec<_> = fields.iter().map(value).collect();
    let answer = visitor.send(page, &fields);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn revoked_now_in_the_dashboard() {
    ends_streams(|fleet, _| by_a_form(fleet, "/settings/profile/revoke", &["csrf", "key"]));
}

#[test]
fn regenerated_in_the_dashboard() {
    let fields = ["csrf", "ticket", "key"];
    ends_streams(|fleet, _| by_a_form(fleet, "/settings/profile/regenerate", &fields));
}
