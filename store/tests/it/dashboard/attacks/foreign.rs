//! Headers that carry other people's data, in whatever encoding: they keep
//! nobody out, and hide nothing of ours.

use crate::dashboard::person::Form;
use crate::dashboard::person::Person;
use crate::dashboard::{
    LOGIN, PASSWORD, PROFILE, SECURITY, add_user, email, events, logged_in, start,
    start_behind_a_proxy,
};
use crate::process::Home;

/// What other programs put into a browser, or a client into its requests.
const FOREIGN: &[&[u8]] = &[
    b"cookie: theme=d\xfcnkel\r\n",
    "cookie: theme=d\u{fc}nkel; name=\u{90a3}\u{98a8}\r\n".as_bytes(),
    b"cookie: \xff\xfe=\x80; a=\"\xe4;\xf6\"\r\n",
    b"cookie: a=1\r\ncookie: b=\xa0\r\ncookie: c\r\n",
    b"user-agent: Br\xf6wser\r\naccept-language: \xe4\r\n",
    b"referer: http://127.0.0.1/\xfc\r\nx-anything: \x80\xff\r\n",
];

#[test]
fn foreign_headers_in_any_encoding_do_not_stop_a_log_in() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    for lines in FOREIGN {
        let ann = Person::at(&store);
        let form = Form::to(LOGIN).with("email", &email("ann"));
        let answer = ann.submit_with(&form.with("password", PASSWORD), lines);
        assert_eq!(answer.header("location"), Some(PROFILE), "{lines:?}");
        for path in [PROFILE, SECURITY] {
            assert_eq!(ann.get_with(path, lines).status, 200, "{path} {lines:?}");
        }
        let log_out = ann.get_with(PROFILE, lines).form("/logout");
        let answer = ann.submit_with(&log_out, lines);
        assert_eq!(answer.header("location"), Some(LOGIN), "{lines:?}");
        assert_eq!(ann.cookie(), "");
    }
    // Also where all is in one line.
    let ann = logged_in(&store, "ann");
    let line = [b"cookie: a=\xfc; ", ann.cookie().as_bytes(), b"; \xff\r\n"].concat();
    let answer = Person::at(&store).get_with(PROFILE, &line);
    assert_eq!(answer.status, 200);
}

#[test]
fn what_a_client_says_before_the_proxy_hides_nobodys_address() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    add_user(&store, "ann");
    let forwarded: [&[u8]; 3] = [
        b"x-forwarded-for: m\xfcll, 192.0.2.7\r\n",
        b"x-forwarded-for: \xff\xff\r\nx-forwarded-for: 192.0.2.8\r\n",
        "x-forwarded-for: \u{fc},10.9.9.9\r\nx-forwarded-for:192.0.2.9\r\n".as_bytes(),
    ];
    for lines in forwarded {
        let ann = Person::at(&store);
        let form = Form::to(LOGIN).with("email", &email("ann"));
        let answer = ann.submit_with(&form.with("password", PASSWORD), lines);
        assert_eq!(answer.status, 303);
    }
    let told: Vec<_> = events(&store, "ann", "login")
        .iter()
        .map(|event| event["client_address"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, ["192.0.2.7", "192.0.2.8", "192.0.2.9"]);
}

#[test]
fn two_dashboards_on_one_host_keep_their_log_ins_apart() {
    let (home, other_home) = (Home::new(), Home::new());
    let (store, other) = (start(&home), start(&other_home));
    for store in [&store, &other] {
        add_user(store, "ann");
    }
    let (here, there) = (logged_in(&store, "ann"), logged_in(&other, "ann"));
    assert_ne!(
        here.cookie().split('=').next(),
        there.cookie().split('=').next()
    );
    // A browser sends both to both.
    let both = format!("{}; {}", here.cookie(), there.cookie());
    for person in [&here, &there] {
        person.plant(&both);
        assert_eq!(person.get(PROFILE).status, 200);
    }
    here.submit(&here.get(PROFILE).form("/logout"));
    here.plant(&both);
    assert_eq!(here.get(PROFILE).status, 303);
    assert_eq!(there.get(PROFILE).status, 200);
}

#[test]
fn password_managers_find_the_account_and_the_page_to_change_it() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let stranger = Person::at(&store);
    for person in [&stranger, &logged_in(&store, "ann")] {
        let answer = person.get("/.well-known/change-password");
        assert_eq!(answer.status, 303);
        assert_eq!(answer.header("location"), Some(SECURITY));
        // By which they tell that the redirect means something.
        let nothing =
            "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200";
        assert_eq!(person.get(nothing).status, 404);
    }
    let fields = |page: &str, wanted: &[(&str, &str)]| {
        for (name, autocomplete) in wanted {
            let field = page
                .split("<input")
                .find(|input| input.contains(&format!("name=\"{name}\"")));
            let field = field.unwrap().split('>').next().unwrap();
            let expected = format!("autocomplete=\"{autocomplete}\"");
            assert!(field.contains(&expected), "{field}");
        }
    };
    let log_in = stranger.get(LOGIN).text;
    fields(
        &log_in,
        &[("email", "username"), ("password", "current-password")],
    );
    let page = logged_in(&store, "ann").get(SECURITY).text;
    fields(
        &page,
        &[
            ("username", "username"),
            ("current_password", "current-password"),
            ("new_password", "new-password"),
        ],
    );
    assert!(page.contains("value=\"ann@example.com\""));
}
