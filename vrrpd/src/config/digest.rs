//! SHA-256 digests, as files and registries write them.

use std::fmt;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// 64 hexadecimal digits, with `sha256:` before them or without. Colons between octets, as openssl
    /// prints fingerprints, are skipped.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let mut nibbles = digits.chars().filter(|c| *c != ':').map(|c| c.to_digit(16));
        let mut octets = [0; 32];
        for octet in &mut octets {
            let (high, low) = (nibbles.next()??, nibbles.next()??);
            *octet = u8::try_from(high * 16 + low).ok()?;
        }
        nibbles.next().is_none().then_some(Self(octets))
    }
}

impl fmt::Display for Sha256 {
    /// As registries write it: `sha256:` and 64 digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_tools_print_it() {
        let digits = "0123456789abcdef".repeat(4);
        let digest = Sha256::parse(&digits).expect("64 digits");
        assert_eq!(digest.to_string(), format!("sha256:{digits}"));
        assert_eq!(Sha256::parse(&digest.to_string()), Some(digest));
        let octets: Vec<&str> = (0..32).map(|at| &digits[2 * at..2 * at + 2]).collect();
        assert_eq!(
            Sha256::parse(&octets.join(":").to_uppercase()),
            Some(digest),
            "openssl x509 -fingerprint"
        );
        for wrong in ["", "sha256:", &digits[1..], &format!("{digits}0"), &digits.replace('0', "g")] {
            assert_eq!(Sha256::parse(wrong), None, "{wrong}");
        }
    }
}
