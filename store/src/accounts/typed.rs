//! Text that people type, in the one form in which it is compared. What is
//! shown is always what they typed.
//!
//! The forms are those of RFC 8265 (UsernameCaseMapped for the part before the
//! `@`, OpaqueString for passwords) and UTS 46 (for domains), without their
//! refusals: those depend on the version of Unicode, and somebody's address or
//! password must not stop working by an update. Where the standards refuse a
//! text, it still has a form here, made by the same mappings.

use icu_normalizer::{ComposingNormalizer, ComposingNormalizerBorrowed};
use zeroize::Zeroizing;

const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfc();
const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfkc();

/// An e-mail address, or what somebody typed for one.
pub fn address(text: &str) -> String {
    // Also the "at" of East Asian keyboards becomes one by it.
    let text = NFKC.normalize(text);
    match text.rsplit_once('@') {
        Some((local, name)) => format!("{}@{}", folded(local), domain(name)),
        None => folded(&text),
    }
}

/// A domain in Unicode, in punycode and in any case is one.
fn domain(text: &str) -> String {
    let text = folded(text);
    idna::domain_to_ascii(&text).unwrap_or(text)
}

/// Without case, and without what nobody sees.
fn folded(text: &str) -> String {
    let seen: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    NFC.normalize(&seen.to_lowercase()).into_owned()
}

/// The characters that come along when an address is copied from a letter or a
/// web page, and that no font shows (Unicode's Default_Ignorable_Code_Point).
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A password. Letters keep their case, and every space is the same one: some
/// keyboards make another.
pub fn password(text: &str) -> Zeroizing<String> {
    let mut spaced = Zeroizing::new(String::with_capacity(text.len()));
    for c in text.chars() {
        let is_space =
            c.is_whitespace() && !c.is_control() && !matches!(c, '\u{2028}'..='\u{2029}');
        spaced.push(if is_space { ' ' } else { c });
    }
    // No text grows to more than three times its length, so the memory is never
    // left behind for a larger one, unwiped (UAX 15, "Maximum Expansion Factor").
    let mut normal = Zeroizing::new(String::with_capacity(3 * text.len()));
    let written = NFC.normalize_to(&spaced, &mut *normal);
    debug_assert!(written.is_ok(), "a string takes everything");
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_however_it_is_spelled() {
        for same in [
            &["ann@example.com", "ANN@Example.COM", "Ａnn＠example.com"][..],
            &[
                "jörg@example.com",
                "JÖRG@example.com",
                "jo\u{308}rg@example.com",
            ],
            &[
                "a@bücher.example",
                "a@BÜCHER.example",
                "a@bu\u{308}cher.example",
                "a@xn--bcher-kva.example",
                "A@XN--BCHER-KVA.EXAMPLE",
                "a@bücher。example",
            ],
            &["a@例え.テスト", "a@xn--r8jz45g.xn--zckzah"],
            &["ΝΊΚΟΣ@example.com", "νίκος@example.com"],
            &["a@faß.example", "a@FAẞ.example", "a@xn--fa-hia.example"],
            &[
                "ann@example.com",
                "\u{200e}a\u{200b}nn@exam\u{ad}ple.com\u{202c}",
            ],
            &["o'brien@example.com", "O'Brien@example.com"],
            &["❤@example.com", "❤\u{fe0f}@example.com"],
        ] {
            let forms: Vec<_> = same.iter().map(|text| address(text)).collect();
            assert!(forms.iter().all(|form| *form == forms[0]), "{forms:?}");
            assert_eq!(address(&forms[0]), forms[0]);
        }
    }

    #[test]
    fn addresses_that_differ_are_not_one() {
        let all = [
            "ann@example.com",
            "anne@example.com",
            "ann@example.org",
            "a.nn@example.com",
            "ann+x@example.com",
            "jörg@example.com",
            "joerg@example.com",
            "jorg@example.com",
            "a@faß.example",
            "a@fass.example",
            "a@xn--a.example",
            "a@xn--.example",
            "",
            "@",
            "ann",
        ];
        let mut forms: Vec<_> = all.iter().map(|text| address(text)).collect();
        forms.sort_unstable();
        forms.dedup();
        assert_eq!(forms.len(), all.len(), "{forms:?}");
    }

    #[test]
    fn a_password_is_one_by_whatever_keyboard() {
        for same in [
            ["Zwölf Boxkämpfer", "Zwo\u{308}lf Boxka\u{308}mpfer"],
            ["correct horse", "correct\u{a0}horse"],
            [
                "パスワード です",
                "\u{30cf}\u{309a}スワート\u{3099}\u{3000}て\u{3099}す",
            ],
            ["\u{212b}ngström", "Ångström"],
        ] {
            assert_eq!(*password(same[0]), *password(same[1]));
        }
        // Nothing else is the same: neither case, nor width, nor what is unseen.
        for other in [
            ["Aa", "aa"],
            ["Ａ", "A"],
            ["ﬁ", "fi"],
            ["a\u{200b}", "a"],
            ["a ", "a"],
        ] {
            assert_ne!(*password(other[0]), *password(other[1]));
        }
        let worst = "\u{1d160}".repeat(40);
        assert!(password(&worst).len() <= 3 * worst.len());
    }
}
