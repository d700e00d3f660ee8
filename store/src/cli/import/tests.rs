//! Files as operators have them, and rows as the store gets them.

use super::*;
use rekey_protocol::Digest;

const KEY: &str = "sb_live_0123456789abcdefghijABCDEFGHIJ12";

fn stream(text: &str) -> Box<dyn Read> {
    Box::new(std::io::Cursor::new(text.to_owned()))
}

fn file(text: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

fn body(text: &str) -> std::io::Result<String> {
    let table = CsvTable::read(stream(text), "a file").map_err(std::io::Error::other)?;
    let mut body = String::new();
    ImportBody::new(table, BadRows::Refuse).read_to_string(&mut body)?;
    Ok(body)
}

fn header_error(text: &str) -> String {
    let table = CsvTable::read(stream(text), "a file");
    format!("{:#}", table.err().unwrap())
}

#[test]
fn a_pipe_gives_the_same_rows_as_a_file() {
    for text in [
        format!("email,key,user\na@b,{KEY},u1\n,{KEY},u2\n"),
        format!("user,key\nu1,{KEY}\nu2,nonsense\nu3,{KEY}\n"),
        "user,key\n".to_owned(),
    ] {
        let checked = |readable| {
            let name = "it".to_owned();
            let mut checked = check(Input { name, readable }).unwrap();
            let mut body = String::new();
            checked.body.read_to_string(&mut body).unwrap();
            (checked.count, body)
        };
        let twice = checked(Readable::Twice(file(&text)));
        assert_eq!(checked(Readable::Once(stream(&text))), twice);
        let (count, body) = twice;
        assert!(!body.contains(KEY));
        assert_eq!(body.lines().count() as u64, count.rows - count.bad);
    }
}

#[test]
fn keys_leave_as_digests() {
    let body = body(&format!("email,key,user\na@b,{KEY},u1\n,{KEY},u2\n")).unwrap();
    let digest = Digest::of(KEY.as_bytes()).to_hex();
    let expected = format!(
        "{{\"line\":2,\"user\":\"u1\",\"digest\":\"{digest}\",\"email\":\"a@b\",\"hint\":\"IJ12\"}}\n\
         {{\"line\":3,\"user\":\"u2\",\"digest\":\"{digest}\",\"hint\":\"IJ12\"}}\n"
    );
    assert_eq!(body, expected);
}

#[test]
fn a_column_of_hints_wins_over_the_key() {
    for header in ["key,hint,user", "hint,key,user"] {
        let (a, b) = match header.starts_with("key") {
            true => (KEY, "hh"),
            false => ("hh", KEY),
        };
        let body = body(&format!("{header}\n{a},{b},u\n")).unwrap();
        assert!(body.contains(r#""hint":"hh""#), "{body}");
    }
}

#[test]
fn bad_headers_are_explained_without_repeating_a_key() {
    assert!(header_error("").contains("is empty"));
    assert!(header_error("user,digest,plan\n").contains("unknown column `plan`"));
    assert!(header_error("user,user,key\n").contains("`user` is there twice"));
    for incomplete in ["user\n", "key\n", "user,key,digest\n"] {
        let text = header_error(incomplete);
        assert!(text.contains("needs `user` and one of"), "{text}");
    }
    let text = header_error(&format!("user,{KEY}\n"));
    assert!(text.contains("column 2") && !text.contains(KEY), "{text}");
}

#[test]
fn a_bad_row_in_the_second_pass_breaks_the_body_off() {
    let error = body("user,key\nu,nonsense\n").unwrap_err().to_string();
    assert!(
        error.contains("changes") && !error.contains("nonsense"),
        "{error}"
    );
}
