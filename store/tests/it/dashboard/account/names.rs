//! Names, addresses and passwords as people have them, and as their keyboards
//! spell them: one account however it is typed.

use argon2::password_hash::phc::Output;
use argon2::{Algorithm, Argon2, Params, Version};
use serde_json::json;

use crate::dashboard::person::Person;
use crate::dashboard::{PASSWORD, PROFILE, SECURITY, events, hashes, start};
use crate::process::{Home, Store, stderr, stdout};

/// The same password as two keyboards make it.
const COMPOSED: &str = "Zwölf Boxkämpfer";
const APART: &str = "Zwo\u{308}lf Boxka\u{308}mpfer";

/// The status of adding a user with that address.
fn add(store: &Store, id: &str, email: &str) -> u16 {
    let body = json!({ "email": email, "user_id": id, "password": PASSWORD }).to_string();
    store.admin("POST", "/v1/users", Some(&body)).status
}

#[test]
fn names_as_people_have_them_are_addresses() {
    let home = Home::new();
    let store = start(&home);
    let names = [
        "o'brien@example.com",
        "d'Arcy-O'Neill@example.ie",
        "josé.garcía@example.es",
        "ann+keys/2026@example.com",
        "大介@例え.テスト",
    ];
    for (index, email) in names.iter().enumerate() {
        assert_eq!(add(&store, &format!("u{index}"), email), 201, "{email}");
        let person = Person::at(&store);
        assert_eq!(person.log_in(email, PASSWORD).status, 303, "{email}");
        // Shown as it was typed, once the page's own escaping is undone.
        let page = person.get(PROFILE).text.replace("&#39;", "'");
        assert!(page.contains(email), "{email}");
    }
    let mut rows = "user,digest,email\n".to_owned();
    for (index, name) in ["l'hôpital", "o'connor", "ng'ang'a"].iter().enumerate() {
        let digest = crate::process::fresh_digest();
        rows += &format!(
            "i{index},{digest},{name}@example.com\n",
            digest = digest.to_hex()
        );
    }
    let file = home.path("import.csv");
    std::fs::write(&file, rows).unwrap();
    let output = store.cli(&["import", file.to_str().unwrap()]);
    assert_eq!(stdout(&output), "imported 3 keys\n", "{}", stderr(&output));
}

#[test]
fn an_address_is_one_account_however_it_is_spelled() {
    let home = Home::new();
    let store = start(&home);
    let spellings = [
        [
            "jörg@example.com",
            "JÖRG@example.com",
            "jo\u{308}rg@Example.COM",
        ],
        [
            "a@bücher.example",
            "A@BÜCHER.example",
            "a@xn--bcher-kva.example",
        ],
        [
            "νίκος@example.gr",
            "ΝΊΚΟΣ@example.gr",
            "νι\u{301}κος@example.gr",
        ],
        [
            "ann@例え.テスト",
            "Ａnn@例え。テスト",
            "ann@XN--R8JZ45G.xn--zckzah",
        ],
    ];
    for (index, [first, others @ ..]) in spellings.iter().enumerate() {
        assert_eq!(add(&store, &format!("u{index}"), first), 201);
        for other in others {
            assert_eq!(add(&store, "other", other), 409, "{other}");
            let before = hashes(&store);
            let person = Person::at(&store);
            assert_eq!(person.log_in(other, PASSWORD).status, 303, "{other}");
            assert_eq!(hashes(&store), before + 1, "one evaluation");
            assert!(person.get(PROFILE).text.contains(first));
        }
    }
    assert_eq!(home.count("SELECT count(*) FROM users"), 4);
}

#[test]
fn an_import_compares_addresses_in_the_same_form() {
    let home = Home::new();
    let store = start(&home);
    assert_eq!(add(&store, "ann", "jörg@example.com"), 201);
    let file = home.path("import.csv");
    let digest = || crate::process::fresh_digest().to_hex();
    let rows = format!(
        "user,digest,email\nbob,{},JÖRG@example.com\neve,{},x@bücher.example\n\
         tom,{},X@xn--bcher-kva.example\nkim,{},other@example.com\n",
        digest(),
        digest(),
        digest(),
        digest()
    );
    std::fs::write(&file, rows).unwrap();
    let output = store.cli(&["import", file.to_str().unwrap()]);
    let told = stderr(&output);
    assert!(
        told.contains("line 2: another user has this e-mail address"),
        "{told}"
    );
    assert!(
        told.contains("line 4: the same e-mail address as in line 3"),
        "{told}"
    );
    assert!(
        told.contains("2 of 4 rows are bad; nothing was imported"),
        "{told}"
    );
    // The user's own address is no other one because of its spelling.
    let revoke = ["keys", "revoke", "--user", "ann"];
    assert!(store.cli(&revoke).status.success());
    let own = format!(
        "user,digest,email\nann,{},Jo\u{308}rg@example.com\n",
        digest()
    );
    std::fs::write(&file, own).unwrap();
    let output = store.cli(&["import", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_password_is_one_by_every_keyboard() {
    let home = Home::new();
    let store = start(&home);
    let body = json!({ "email": "ann@example.com", "user_id": "ann", "password": APART });
    store.add(&body);
    for typed in [COMPOSED, APART, "Zwo\u{308}lf\u{a0}Boxkämpfer"] {
        let before = hashes(&store);
        let answer = Person::at(&store).log_in("ann@example.com", typed);
        assert_eq!(
            (answer.status, hashes(&store)),
            (303, before + 1),
            "{typed}"
        );
    }
    for other in ["zwölf boxkämpfer", "Zwolf Boxkampfer", "Zwölf Boxkämpfer "] {
        let answer = Person::at(&store).log_in("ann@example.com", other);
        assert_eq!(answer.status, 403, "{other}");
    }
    // It can be changed with another keyboard at each field.
    let ann = Person::at(&store);
    assert_eq!(ann.log_in("ann@example.com", COMPOSED).status, 303);
    let change = "/settings/security/password";
    let (new, repeat) = ("Fünf Doktoren sind da", "Fu\u{308}nf Doktoren sind da");
    let form = ann
        .get(SECURITY)
        .form(change)
        .with("current_password", APART);
    let form = form
        .with("new_password", new)
        .with("repeat_password", repeat);
    assert_eq!(ann.submit(&form).status, 303);
    assert_eq!(
        Person::at(&store).log_in("ann@example.com", repeat).status,
        303
    );
}

/// The hash of exactly these bytes, as it was made before there was a normal form.
fn hash_of(text: &str) -> String {
    let params = Params::new(32, 1, 1, Some(32)).unwrap();
    let argon = Argon2::new(Algorithm::Argon2id, Version::default(), params);
    let mut hash = [0; 32];
    argon
        .hash_password_into(text.as_bytes(), b"somesaltsomesalt", &mut hash)
        .unwrap();
    let hash = Output::new(&hash).unwrap();
    format!("$argon2id$v=19$m=32,t=1,p=1$c29tZXNhbHRzb21lc2FsdA${hash}")
}

#[test]
fn who_has_set_a_password_before_is_not_locked_out() {
    let home = Home::new();
    let store = start(&home);
    // What was typed, and another spelling of it, if there is one.
    for (id, set, other) in [
        ("apart", APART, COMPOSED),
        ("composed", COMPOSED, APART),
        (
            "spaced",
            "correct\u{a0}horse battery",
            "correct horse battery",
        ),
        ("plain", PASSWORD, PASSWORD),
    ] {
        assert_eq!(add(&store, id, &format!("{id}@example.com")), 201);
        let before = "UPDATE passwords SET phc = ?2, normal = 0 WHERE user_id = ?1";
        home.sql().execute(before, [id, &hash_of(set)]).unwrap();
        let log_in = |typed: &str| {
            let before = hashes(&store);
            let answer = Person::at(&store).log_in(&format!("{id}@example.com"), typed);
            (answer.status, hashes(&store) - before)
        };
        // A refusal costs what it costs where there is no such account.
        assert_eq!(log_in("some other password"), (403, 1), "{id}");
        let (status, evaluations) = log_in(set);
        assert_eq!(status, 303, "{id}");
        // The hash of the normal form is made once, where it is another text.
        assert!(evaluations <= 2, "{id}: {evaluations}");
        for typed in [set, other] {
            assert_eq!(log_in(typed), (303, 1), "{id} {typed}");
        }
        assert_eq!(events(&store, id, "password_changed").len(), 0);
    }
    assert_eq!(
        home.count("SELECT count(*) FROM passwords WHERE normal = 0"),
        0
    );
}
