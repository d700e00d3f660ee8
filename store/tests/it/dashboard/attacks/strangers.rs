//! Connections of those who want no page: they keep nobody from a key check,
//! from a page, or from a restart.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rekey_protocol::Digest;
use rustix::process::Signal;
use serde_json::json;

use crate::dashboard::person::{Form, Person, answer};
use crate::dashboard::{LOGIN, NEW_KEY, PROFILE, add_user, email, events, logged_in, serve, start};
use crate::gateways::feed::Gateway;
use crate::process::{Home, PATIENCE, STORE_TOKEN, Store, await_some};

const HALF_A_HEAD: &str = "GET /login HTTP/1.1\r\nhost: s";
/// No store that waits for strangers stops in so short a time.
const SOON: Duration = Duration::from_secs(4);

/// A connection to the dashboard that has said that much.
fn having_sent(store: &Store, text: &str) -> TcpStream {
    let address = store.dashboard_url.as_ref().unwrap();
    let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// The log-in page, asked for on a connection that is to be kept.
fn request_for_login(person: &Person) -> String {
    let host = &person.headers("GET")[0].1;
    format!("GET {LOGIN} HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

/// Reads one answer to its end, which is its last line.
fn read_page(stream: &mut TcpStream) -> String {
    let mut page = Vec::new();
    while !page.ends_with(b"</html>") {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&page));
        page.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(page).unwrap()
}

/// A key check on a connection of its own.
fn resolve_anew(store: &Store, digest: &Digest) -> String {
    let mut stream = TcpStream::connect(store.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = json!({ "digest": digest }).to_string();
    write!(
        stream,
        "POST /v1/keys/resolve HTTP/1.1\r\nhost: s\r\nauthorization: Bearer {STORE_TOKEN}\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    answer(stream).text
}

/// That command, allowed so many open files.
fn with_open_files(command: &Command, soft: u32, hard: u32) -> Command {
    let mut limited = Command::new("/bin/sh");
    let script = format!("ulimit -Sn {soft}; ulimit -Hn {hard}; exec \"$0\" \"$@\"");
    limited.args(["-c", &script]).arg(command.get_program());
    limited.args(command.get_args()).env_clear();
    let set = |(name, value): (_, Option<_>)| Some((name, value?));
    limited.envs(command.get_envs().filter_map(set));
    limited
}

#[test]
fn however_many_strangers_there_are_keys_are_checked() {
    let home = Home::new();
    // Fewer than strangers, and at first fewer than it serves of them.
    let store = home.start_as(&mut with_open_files(&serve(&home), 100, 400));
    let user = add_user(&store, "ann");
    let strangers: Vec<_> = (0..600)
        .map(|number| having_sent(&store, ["", HALF_A_HEAD][number % 2]))
        .collect();
    await_some(|| home.log().contains("more have to wait").then_some(()));
    let began = Instant::now();
    for _ in 0..20 {
        let answer = resolve_anew(&store, &user.digest);
        assert!(answer.contains("active"), "{answer}");
        assert_eq!(store.admin("GET", "/v1/users", None).status, 200);
    }
    let took = began.elapsed();
    assert!(took < SOON, "{took:?}");
    assert!(!home.log().contains("cannot accept"), "{}", home.log());
    // The table is free when they leave.
    drop(strangers);
    logged_in(&store, "ann");
    assert!(!home.log().contains("cannot accept"), "{}", home.log());
}

#[test]
fn who_has_nothing_to_say_is_left() {
    let home = Home::new();
    let store = start(&home);
    let nobody = Person::at(&store);
    let began = Instant::now();
    let mut kept = having_sent(&store, &request_for_login(&nobody));
    assert!(read_page(&mut kept).starts_with("HTTP/1.1 200 "));
    let mut strangers: Vec<_> = ["", HALF_A_HEAD, "PRI * HTTP/2.0\r\n"]
        .map(|text| having_sent(&store, text))
        .into();
    strangers.push(kept);
    // One that goes on, but comes to no end.
    let mut slow = having_sent(&store, "GET / HTTP/1.1\r\n");
    while began.elapsed() < Duration::from_secs(8) {
        slow.write_all(b"x: y\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
    strangers.push(slow);
    for mut stranger in strangers {
        let mut rest = String::new();
        let _ = stranger.read_to_string(&mut rest);
        assert!(!rest.contains("HTTP/1.1 200"), "{rest}");
    }
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(9)..Duration::from_secs(20)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn pages_come_on_a_connection_that_is_kept_and_on_one_that_is_not() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let nobody = Person::at(&store);
    let request = request_for_login(&nobody);
    let mut kept = having_sent(&store, "");
    for _ in 0..3 {
        kept.write_all(request.as_bytes()).unwrap();
        let page = read_page(&mut kept);
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
        assert!(!page.contains("connection: close"), "{page}");
    }
    // Two at once, the last of which is the connection's last.
    let last = request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    kept.write_all(format!("{request}{last}").as_bytes())
        .unwrap();
    let mut both = String::new();
    kept.read_to_string(&mut both).unwrap();
    assert_eq!(both.matches("HTTP/1.1 200 ").count(), 2, "{both}");
    // These are closed after each, and who connects is still known.
    logged_in(&store, "ann");
    let told = events(&store, "ann", "login");
    assert_eq!(told[0]["client_address"], "127.0.0.1");
}

/// Waits for the end, which comes soon and is a good one.
fn ends_soon(mut store: Store, signalled: Instant) {
    assert_eq!(store.child.wait().unwrap().code(), Some(0));
    let took = signalled.elapsed();
    assert!(took < SOON, "{took:?}");
}

#[test]
fn strangers_do_not_hold_up_the_end() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let nobody = Person::at(&store);
    let mut kept = having_sent(&store, &request_for_login(&nobody));
    read_page(&mut kept);
    let mut slow = request_for_login(&nobody).replace("GET", "POST");
    slow.truncate(slow.len() - 2);
    let refused = format!("{slow}content-length: 100\r\n\r\nemail=a");
    let origin = format!("origin: {}\r\n", nobody.origin);
    let read = format!("{slow}{origin}content-length: 100\r\n\r\nemail=a");
    let half_a_second_head = format!("{}{HALF_A_HEAD}", request_for_login(&nobody));
    let texts = [
        "",
        "G",
        HALF_A_HEAD,
        "PRI * HTTP/2.0\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &refused,
        &read,
        &half_a_second_head,
    ];
    let _strangers = texts.map(|text| having_sent(&store, text));
    // Who reads nothing, and asks for more than the system holds.
    let mut deaf = having_sent(&store, "");
    deaf.set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    while deaf
        .write_all(request_for_login(&nobody).as_bytes())
        .is_ok()
    {}
    // All are served by now.
    logged_in(&store, "ann");
    let signalled = Instant::now();
    store.signal(Signal::TERM);
    ends_soon(store, signalled);
}

#[test]
fn who_waits_for_the_gateways_is_told_that_the_store_ends() {
    let home = Home::new();
    let store = start(&home);
    for id in ["ann", "bob", "eve"] {
        add_user(&store, id);
    }
    let people = ["ann", "bob", "eve"].map(|id| logged_in(&store, id));
    let [ann, bob, eve] = &people;
    // Before any gateway is there to wait for.
    assert_eq!(eve.submit(&eve.revocation()).status, 200);
    let forms = [ann.regeneration(), bob.revocation(), eve.new_key()];
    let masked = |person: &Person| person.get(PROFILE).element("masked-key").map(str::to_owned);
    let old = masked(ann);
    Gateway::new(30_000).follow(&store);
    let unknown = |(person, form): (&Person, &Form)| {
        let answer = person.submit(form);
        assert_eq!(answer.status, 500, "{answer:?}");
        let told = answer.text.contains("The outcome is not known");
        assert!(told && answer.error().contains("Look at your profile"));
        assert_eq!(answer.header("connection"), Some("close"));
    };
    let signalled = std::thread::scope(|scope| {
        for pair in people.iter().zip(&forms) {
            scope.spawn(move || unknown(pair));
        }
        let done = "SELECT count(*) FROM audit
                    WHERE (action, source) IN (VALUES ('rotated', 'dashboard'),
                        ('revoked', 'dashboard'), ('issued', 'dashboard'))";
        await_some(|| (home.count(done) == 4).then_some(()));
        store.signal(Signal::TERM);
        Instant::now()
    });
    ends_soon(store, signalled);
    // It was done all the same, and the profile has it.
    let store = start(&home);
    let [ann, bob, eve] = people.map(|person| person.again_at(&store));
    let new = masked(&ann);
    assert!(new.is_some() && new != old, "{new:?}");
    assert!(bob.get(PROFILE).offers(NEW_KEY));
    assert!(masked(&eve).is_some());
    assert_eq!(
        ann.log_in(&email("ann"), crate::dashboard::PASSWORD).status,
        303
    );
}
