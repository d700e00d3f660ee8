//! What the audit log can say. To add an action, add a variant and its name; the
//! dashboard's profile then asks for its text.

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    UserAdded,
    Imported,
    /// A key was replaced by another one.
    Rotated,
    /// A key ended, and got no successor by it.
    Revoked,
    /// A key came without ending another one.
    Issued,
    UserRemoved,
    EmailSet,
    Login,
    LoginRefused,
    Logout,
    LogoutEverywhere,
    PasswordChanged,
    PasswordRefused,
    PasswordSet,
    /// The answer to a rotation was given again.
    Replayed,
    /// It was asked for again with a wrong proof.
    ReplayRefused,
    OldKeyUsed,
}

/// Every action, under the name that the database and the API have for it.
const NAMES: [(Action, &str); 17] = [
    (Action::UserAdded, "user_added"),
    (Action::Imported, "imported"),
    (Action::Rotated, "rotated"),
    (Action::Revoked, "revoked"),
    (Action::Issued, "issued"),
    (Action::UserRemoved, "user_removed"),
    (Action::EmailSet, "email_set"),
    (Action::Login, "login"),
    (Action::LoginRefused, "login_refused"),
    (Action::Logout, "logout"),
    (Action::LogoutEverywhere, "logout_everywhere"),
    (Action::PasswordChanged, "password_changed"),
    (Action::PasswordRefused, "password_refused"),
    (Action::PasswordSet, "password_set"),
    (Action::Replayed, "replayed"),
    (Action::ReplayRefused, "replay_refused"),
    (Action::OldKeyUsed, "old_key_used"),
];

impl Action {
    /// Its name in the database and in the API.
    pub const fn name(self) -> &'static str {
        let (action, name) = NAMES[self as usize];
        assert!(action as usize == self as usize, "in the order of the enum");
        name
    }

    /// The action of this name. `None`: a later version wrote it.
    pub fn named(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(action, _)| *action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_found_by_its_name() {
        for (action, name) in NAMES {
            assert_eq!((action.name(), Action::named(name)), (name, Some(action)));
        }
    }
}
