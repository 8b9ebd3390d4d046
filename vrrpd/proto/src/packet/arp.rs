//! ARP over Ethernet (RFC 826): gratuitous ARP, and what a received frame claims.

use std::net::Ipv4Addr;

use crate::MacAddress;

/// Octets of the frame: 14 of Ethernet, 28 of ARP. The driver pads it to the 60 of the wire.
pub const FRAME_LEN: usize = 42;

/// EtherType ARP; Ethernet (1) and IPv4 (0x0800) with their address lengths, 6 and 4.
const CONSTANT: [u8; 8] = [0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4];

/// Where the fields begin.
const DESTINATION: usize = 0;
const SOURCE: usize = 6;
const CONSTANT_AT: usize = 12;
const OPERATION: usize = 20;
const SENDER_MAC: usize = 22;
const SENDER_ADDRESS: usize = 28;
const TARGET_MAC: usize = 32;
const TARGET_ADDRESS: usize = 38;

/// The two forms of gratuitous ARP. Some stations learn from only one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GarpForm {
    /// Operation 1, as in RFC 9568 6.4.1 and RFC 5227 3, which explains why it is the safer one.
    Request,
    /// Operation 2 (RFC 5944 4.6).
    Reply,
}

/// Writes the broadcast frame that tells the link `address` is at `mac`, and returns its length,
/// which is always [`FRAME_LEN`].
///
/// The target hardware address is `mac` in both forms (RFC 9568 6.4.1 with errata 7947 and 7949;
/// RFC 5944 4.6). `mac` is the Virtual Router MAC Address, or our own where none is used.
pub fn gratuitous(out: &mut [u8; FRAME_LEN], form: GarpForm, mac: MacAddress, address: Ipv4Addr) -> usize {
    let arp = Arp {
        operation: match form {
            GarpForm::Request => Operation::Request,
            GarpForm::Reply => Operation::Reply,
        },
        sender_mac: mac,
        sender_address: address,
        target_mac: mac,
        target_address: address,
    };
    arp.encode(out, mac, MacAddress::BROADCAST);
    FRAME_LEN
}

/// Writes the broadcast frame that asks who has `target`, from `source`, an address of ours at `mac` or
/// (a probe, RFC 5227 2.1.1) the unspecified one, and returns its length, which is always [`FRAME_LEN`].
pub fn request(out: &mut [u8; FRAME_LEN], mac: MacAddress, source: Ipv4Addr, target: Ipv4Addr) -> usize {
    let arp = Arp {
        operation: Operation::Request,
        sender_mac: mac,
        sender_address: source,
        target_mac: MacAddress::default(),
        target_address: target,
    };
    arp.encode(out, mac, MacAddress::BROADCAST);
    FRAME_LEN
}

/// ARP operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// 1: who has the target address?
    Request,
    /// 2: the sender has the sender address.
    Reply,
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// Where `sender_address` is, says the sender.
    pub sender_mac: MacAddress,
    /// Unspecified in a probe (RFC 5227 2.1.1), which claims nothing.
    pub sender_address: Ipv4Addr,
    /// Ignored in requests.
    pub target_mac: MacAddress,
    /// The address asked for, or that of the station answered to.
    pub target_address: Ipv4Addr,
}

impl Arp {
    /// Reads an untagged Ethernet frame; padding is ignored. `None` when it is not a whole ARP request
    /// or reply for IPv4 over Ethernet.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let frame: &[u8; FRAME_LEN] = frame.first_chunk()?;
        if field(frame, CONSTANT_AT) != CONSTANT {
            return None;
        }
        let operation = match u16::from_be_bytes(field(frame, OPERATION)) {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return None,
        };
        Some(Self {
            operation,
            sender_mac: MacAddress::new(field(frame, SENDER_MAC)),
            sender_address: field(frame, SENDER_ADDRESS).into(),
            target_mac: MacAddress::new(field(frame, TARGET_MAC)),
            target_address: field(frame, TARGET_ADDRESS).into(),
        })
    }

    /// Writes the whole Ethernet frame.
    pub fn encode(&self, out: &mut [u8; FRAME_LEN], source: MacAddress, destination: MacAddress) {
        let operation: u16 = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        put(out, DESTINATION, destination.octets());
        put(out, SOURCE, source.octets());
        put(out, CONSTANT_AT, CONSTANT);
        put(out, OPERATION, operation.to_be_bytes());
        put(out, SENDER_MAC, self.sender_mac.octets());
        put(out, SENDER_ADDRESS, self.sender_address.octets());
        put(out, TARGET_MAC, self.target_mac.octets());
        put(out, TARGET_ADDRESS, self.target_address.octets());
    }
}

/// The field that begins at `at`; all of the constants above lie inside of the frame.
fn field<const N: usize>(frame: &[u8; FRAME_LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|index| frame[at + index])
}

fn put<const N: usize>(frame: &mut [u8; FRAME_LEN], at: usize, octets: [u8; N]) {
    frame[at..at + N].copy_from_slice(&octets);
}
