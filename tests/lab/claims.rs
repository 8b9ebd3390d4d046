//! Who became Active when, as the wire tells it.

use std::time::Duration;

use crate::Frame;

/// A node that began to advertise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub node: String,
    /// Its first advertisement, ns of `CLOCK_REALTIME`.
    pub time_ns: i64,
}

/// The claims among `frames`, of routers that advertise every `interval`. Nodes that are Active when
/// the capture begins are the first claims.
///
/// A node is Active from its first advertisement until it resigns with priority 0, or until another
/// node speaks after it was silent for two intervals and a half. A pause in which nobody else spoke
/// is none of our business.
pub fn claims(frames: &[Frame], interval: Duration) -> Vec<Claim> {
    let patience = i64::try_from(interval.as_nanos()).expect("a short interval") * 5 / 2;
    let mut active: Vec<(&str, i64)> = Vec::new();
    let mut claims = Vec::new();
    for frame in frames {
        let Some(advert) = frame.advert() else { continue };
        let (node, time_ns) = (frame.interface.as_str(), frame.time_ns);
        active.retain(|&(other, spoke_ns)| other == node || time_ns - spoke_ns < patience);
        let known = active.iter().position(|&(other, _)| other == node);
        match known {
            Some(at) if advert.priority == 0 => drop(active.swap_remove(at)),
            Some(at) => active[at].1 = time_ns,
            None if advert.priority == 0 => {}
            None => {
                active.push((node, time_ns));
                claims.push(Claim { node: node.to_owned(), time_ns });
            }
        }
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Advert;
    use crate::{Kind, Mac};

    fn claimed(said: &[(&str, i64, u8)]) -> Vec<(String, i64)> {
        let address = std::net::IpAddr::from([192, 0, 2, 193]);
        let frame = |&(node, time_ns, priority): &(&str, i64, u8)| Frame {
            time_ns,
            interface: node.to_owned(),
            source: Mac([2, 0, 0, 0, 0, 1]),
            kind: Kind::Advert(Advert {
                version: 3,
                vrid: 201,
                priority,
                interval_cs: 10,
                source: address,
                destination: address,
                ttl: 255,
                addresses: Vec::new(),
            }),
            octets: Vec::new(),
        };
        let frames: Vec<Frame> = said.iter().map(frame).collect();
        let found = claims(&frames, Duration::from_nanos(100));
        found.into_iter().map(|claim| (claim.node, claim.time_ns)).collect()
    }

    #[test]
    fn a_takeover_and_a_return_are_one_claim_each() {
        let said = [("a", 0, 200), ("a", 100, 200), ("b", 460, 100), ("b", 560, 100), ("a", 900, 200)];
        let wanted = [("a", 0), ("b", 460), ("a", 900)].map(|(node, time)| (node.to_owned(), time));
        assert_eq!(claimed(&said), wanted);
    }

    #[test]
    fn who_resigns_and_speaks_again_has_claimed_again() {
        let said = [("a", 0, 200), ("a", 10, 0), ("a", 11, 0), ("a", 50, 200)];
        assert_eq!(claimed(&said).len(), 2);
    }

    #[test]
    fn two_that_do_not_hear_each_other_claim_once_each() {
        let said = [("a", 0, 200), ("b", 50, 100), ("a", 100, 200), ("b", 150, 100), ("a", 200, 200)];
        assert_eq!(claimed(&said).len(), 2);
    }

    #[test]
    fn a_pause_that_nobody_used_is_no_claim() {
        assert_eq!(claimed(&[("a", 0, 200), ("a", 900, 200)]).len(), 1);
    }
}
