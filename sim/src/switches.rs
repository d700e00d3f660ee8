//! The rules of a protocol as switches: a struct of booleans, by which a model can
//! lack any of them.

macro_rules! rules {
    ($($name:ident: $text:literal,)+) => {
        /// Which rules hold. A field is named after the rule it is a part of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Rules {
            $(#[doc = $text] pub $name: bool,)+
        }

        impl Rules {
            /// The protocol.
            pub const ALL: Self = Self { $($name: true,)+ };

            /// Every switch: its name and what it says.
            pub const LIST: &[(&str, &str)] = &[$((stringify!($name), $text),)+];

            /// The protocol without some rules; none if there is no such rule.
            pub fn without(names: &[&str]) -> Option<Self> {
                let mut rules = Self::ALL;
                for name in names {
                    match *name {
                        $(stringify!($name) => rules.$name = false,)+
                        _ => return None,
                    }
                }
                Some(rules)
            }
        }
    };
}

pub(crate) use rules;
