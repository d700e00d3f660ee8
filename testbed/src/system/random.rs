//! Random texts: fit for a header, a variable, a form and a command line.

use anyhow::Context as _;

/// So many random bytes, as twice as many hexadecimal digits.
///
/// # Errors
/// The machine gives no random bytes.
pub fn hex(bytes: usize) -> anyhow::Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).context("the machine gives no random bytes")?;
    Ok(hex::encode(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new_and_as_long_as_asked() {
        let (one, other) = (hex(10).unwrap(), hex(10).unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 20);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    }
}
