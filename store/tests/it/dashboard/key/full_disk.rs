//! A full disk, as somebody in the dashboard meets it.

use super::regenerate::{is_state, shown};
use crate::dashboard::{PROFILE, REGENERATE, REVOKE, add_user, logged_in};
use crate::database::disk::SmallDisk;
use crate::process::await_some;

#[test]
fn a_form_on_a_full_disk_changes_nothing_and_says_so() {
    let Some(disk) = SmallDisk::new() else { return };
    let mut serve = disk.serve();
    let store = disk
        .home
        .start_as(serve.args(["--dashboard-listen", "127.0.0.1:0"]));
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let forms = [REGENERATE, REVOKE].map(|path| ann.get(path).form(path));
    disk.fill();
    for form in &forms {
        let refused = ann.submit(form);
        assert_eq!(refused.status, 503, "{refused:?}");
        let text = refused.error();
        assert!(text.contains("disk of the key store is full"), "{text}");
        assert!(text.contains("Nothing was changed"), "{text}");
    }
    is_state(&store, &user.digest, "active");
    assert_eq!(ann.get(PROFILE).status, 200, "reading goes on");
    disk.make_room();
    // The form was not used up.
    let made = await_some(|| {
        let answer = ann.submit(&forms[0]);
        (answer.status == 200).then_some(answer)
    });
    is_state(&store, &shown(&made), "active");
    is_state(&store, &user.digest, "revoked");
}
