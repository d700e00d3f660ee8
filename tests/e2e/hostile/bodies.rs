//! Bodies of every size and shape, and what becomes of the connection: it
//! lives on if the request had arrived whole when it was answered.

use super::super::support::client::REGENERATE;
use super::super::support::fleet::TestFleet;
use super::super::support::wire::raw_http::{RawAnswer, RawConnection};
use super::{
    FORGED, Outcome, invalid_key, method_not_allowed, missing_key, received, request, start,
};

const MB_3: usize = 3_000_000;

/// A request with a body, in the pieces in which it is sent.
struct Sent {
    case: &'static str,
    pieces: Vec<Vec<u8>>,
}

/// The same request with each kind of body, which ends after some pieces.
fn with_bodies(line: &str, authorization: Option<&str>) -> Vec<Sent> {
    let head = |headers: &[&str]| {
        let mut lines: Vec<Vec<u8>> = headers
            .iter()
            .map(|line| line.as_bytes().to_vec())
            .collect();
        lines.extend(authorization.map(|value| format!("Authorization: {value}").into_bytes()));
        request(line, &lines)
    };
    let chunk = |size: usize| {
        let mut chunk = format!("{size:x}\r\n").into_bytes();
        chunk.extend(vec![b'a'; size]);
        chunk.extend(b"\r\n");
        chunk
    };
    let length = |size: usize| head(&[&format!("Content-Length: {size}")]);
    let chunked = head(&["Transfer-Encoding: chunked"]);
    let last = b"0\r\n\r\n".to_vec();
    let sent = |case, pieces| Sent { case, pieces };
    vec![
        sent("one packet", vec![[length(10), vec![b'a'; 10]].concat()]),
        sent("two packets", vec![length(10), vec![b'a'; 10]]),
        sent(
            "3 MB in one piece",
            vec![[length(MB_3), vec![b'a'; MB_3]].concat()],
        ),
        sent(
            "3 MB in many pieces",
            [vec![length(MB_3)], vec![vec![b'a'; MB_3 / 100]; 100]].concat(),
        ),
        sent(
            "one chunk",
            vec![[chunked.clone(), chunk(10), last.clone()].concat()],
        ),
        sent(
            "3 MB in chunks",
            [vec![chunked], vec![chunk(MB_3 / 100); 100], vec![last]].concat(),
        ),
    ]
}

fn open(fleet: &TestFleet) -> RawConnection {
    RawConnection::open(fleet.gateways[0].address())
}

/// Shows that a connection serves another request.
fn assert_lives(case: &str, connection: &mut RawConnection, answer: &RawAnswer) {
    assert!(!answer.says_close(), "{case}");
    let again = connection.exchange(request("GET /status", &[]));
    assert_eq!(again.status, 200, "{case}");
}

fn assert_closes(case: &str, connection: &mut RawConnection, answer: &RawAnswer) {
    assert!(answer.says_close(), "{case}: {answer:?}");
    assert!(connection.is_closed_by_peer(), "{case}");
}

#[test]
fn without_a_body_the_connection_lives_through_every_refusal() {
    let fleet = start();
    let mut connection = open(&fleet);
    let forged = format!("Authorization: Bearer {FORGED}").into_bytes();
    for (line, headers, expected) in [
        ("GET /v1/scrape", vec![], missing_key()),
        ("GET /v1/scrape", vec![forged.clone()], invalid_key()),
        (
            "PUT /v1/user/api-key/regenerate",
            vec![],
            method_not_allowed(),
        ),
        (
            "POST /v1/user/api-key/regenerate",
            vec![forged.clone()],
            invalid_key(),
        ),
        (
            "POST /v1/scrape",
            vec![b"Content-Length: 0".to_vec()],
            missing_key(),
        ),
        (
            "POST /v1/user/api-key/regenerate",
            vec![b"Content-Length: 0".to_vec()],
            missing_key(),
        ),
    ] {
        let answer = connection.exchange(request(line, &headers));
        assert_eq!(Outcome::of(&answer), expected, "{line}");
        assert_lives(line, &mut connection, &answer);
    }
    fleet.assert_no_trap();
}

/// A refusal waits a moment for the body. Where that has not come, it is Envoy's rule
/// that the answer ends the connection.
#[test]
fn a_refusal_closes_only_where_the_body_is_still_to_come() {
    let fleet = start();
    for (line, expected) in [
        ("POST /v1/scrape", missing_key()),
        ("POST /v1/user/api-key/regenerate", missing_key()),
        ("PUT /v1/user/api-key/regenerate", method_not_allowed()),
    ] {
        for Sent { case, pieces } in with_bodies(line, None) {
            let case = format!("{line}, {case}");
            let mut connection = open(&fleet);
            connection.send_in_background(pieces);
            let answer = connection.answer();
            assert_eq!(Outcome::of(&answer), expected, "{case}");
            if case.contains("3 MB") {
                assert_closes(&case, &mut connection, &answer);
            } else {
                assert_lives(&case, &mut connection, &answer);
            }
        }
        let mut connection = open(&fleet);
        let unfinished = request(line, &[b"Content-Length: 10".to_vec()]);
        let answer = connection.exchange([&unfinished[..], b"half"].concat());
        assert_eq!(Outcome::of(&answer), expected, "{line}, half of a body");
        assert_closes(line, &mut connection, &answer);
    }
    fleet.assert_no_trap();
}

#[test]
fn a_rotation_ignores_its_body() {
    let fleet = start();
    for number in 0..with_bodies("", None).len() {
        let key = fleet.user().api_key;
        let bearer = format!("Bearer {key}");
        let sent = with_bodies(&format!("POST {REGENERATE}"), Some(&bearer));
        let Sent { case, pieces } = sent.into_iter().nth(number).unwrap();
        let complete = pieces.len() == 1 && !case.starts_with("3 MB");
        let mut connection = open(&fleet);
        connection.send_in_background(pieces);
        let answer = connection.answer();
        assert_eq!(answer.status, 200, "{case}: {}", answer.body);
        if complete {
            assert_lives(case, &mut connection, &answer);
        } else if case.starts_with("3 MB") {
            // More than Envoy holds of a request that waits.
            assert_closes(case, &mut connection, &answer);
        }
        assert_eq!(fleet.client().get("/v1/scrape", &key).status, 401, "{case}");
    }
    fleet.assert_no_trap();
}

#[test]
fn a_body_that_never_ends_delays_no_answer() {
    let fleet = start();
    let key = fleet.user().api_key;
    for (line, authorization, status) in [
        ("POST /v1/scrape", format!("Bearer {FORGED}"), 401),
        (
            "POST /v1/user/api-key/regenerate",
            format!("Bearer {key}"),
            200,
        ),
    ] {
        let mut connection = open(&fleet);
        let headers = [
            "Content-Length: 1000".to_owned(),
            format!("Authorization: {authorization}"),
        ];
        let headers = headers.map(String::into_bytes);
        connection.send([request(line, &headers), b"only this".to_vec()].concat());
        let answer = connection.answer();
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        assert_closes(line, &mut connection, &answer);
    }
    fleet.assert_no_trap();
}

#[test]
fn a_served_body_arrives_whole() {
    let fleet = start();
    let user = fleet.user();
    let bearer = format!("Bearer {}", user.api_key);
    for Sent { case, pieces } in with_bodies("POST /v1/scrape", Some(&bearer)) {
        let size = if case.starts_with("3 MB") { MB_3 } else { 10 };
        let mut connection = open(&fleet);
        connection.send_in_background(pieces);
        let answer = connection.answer();
        assert_eq!(
            Outcome::of(&answer),
            Outcome::Upstream(user.user_id.clone()),
            "{case}"
        );
        assert_eq!(received(&answer).body_bytes, size as u64, "{case}");
        assert_lives(case, &mut connection, &answer);
    }
    fleet.assert_no_trap();
}

/// Envoy itself asks for the body, whatever the filter then says of it.
#[test]
fn expect_100_continue_gets_its_interim_answer_first() {
    let fleet = start();
    let user = fleet.user();
    let bearer = format!("Authorization: Bearer {}", user.api_key).into_bytes();
    let headers = |more: &[Vec<u8>]| {
        let expect = [
            b"Expect: 100-continue".to_vec(),
            b"Content-Length: 10".to_vec(),
        ];
        [&expect, more].concat()
    };
    for (line, more, status) in [
        ("POST /v1/scrape", vec![], 401),
        ("GET /v1/user/api-key/regenerate", vec![], 405),
        ("POST /v1/scrape", vec![bearer.clone()], 200),
        (
            "POST /v1/user/api-key/regenerate",
            vec![bearer.clone()],
            200,
        ),
    ] {
        let mut connection = open(&fleet);
        connection.send(request(line, &headers(&more)));
        if status == 200 {
            // The body goes out when the client has been asked for it.
            connection.wait_for_interim();
            connection.send([b'a'; 10]);
        }
        let answer = connection.answer();
        assert_eq!(answer.interim, [100], "{line}");
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        if status != 200 {
            assert_closes(line, &mut connection, &answer);
        }
    }
    fleet.assert_no_trap();
}
