//! A limit that not everything keeps yet: what is over it is on a list, and the
//! list can only get shorter.

use std::collections::BTreeMap;

/// Fails unless `over`, all that is over the limit with its size, is what the list says.
pub fn check(what: &str, list: &[(&str, usize)], over: &BTreeMap<String, usize>) {
    let list: BTreeMap<_, _> = list.iter().copied().collect();
    let mut faults = Vec::new();
    for (name, size) in over {
        match list.get(name.as_str()) {
            None => faults.push(format!("{name} has {size}: {what}")),
            Some(listed) if size > listed => {
                faults.push(format!("{name} has grown from {listed} to {size}: {what}"));
            }
            Some(listed) if size < listed => {
                faults.push(format!(
                    "{name} has shrunk to {size}: write that on the list"
                ));
            }
            Some(_) => {}
        }
    }
    let gone = list.keys().filter(|name| !over.contains_key(**name));
    faults.extend(gone.map(|name| format!("{name} keeps the limit: take it off the list")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_list_only_gets_shorter() {
    let over = |size| BTreeMap::from([("a".to_owned(), size)]);
    let holds = |list: &'static [(&str, usize)], over: BTreeMap<String, usize>| {
        std::panic::catch_unwind(|| check("too long", list, &over)).is_ok()
    };
    assert!(holds(&[("a", 5)], over(5)));
    assert!(!holds(&[], over(5)), "it is new");
    assert!(!holds(&[("a", 4)], over(5)), "it has grown");
    assert!(!holds(&[("a", 6)], over(5)), "it has shrunk");
    assert!(!holds(&[("a", 5)], BTreeMap::new()), "it keeps the limit");
}
