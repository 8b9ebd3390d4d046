//! What Wireshark says of captured frames: a reader that shares nothing with us.

use std::path::Path;
use std::process::Command;

use crate::Frame;

/// For [`Lab::with`](crate::Lab::with).
pub const PROGRAM: &str = "tshark";

/// One frame, as Wireshark reads it.
#[derive(Debug)]
pub struct Read {
    /// The protocols in it, from the outside: `eth:ethertype:ip:vrrp`.
    pub protocols: String,
    /// What is wrong with it in Wireshark's opinion: remarks of any severity, and bad checksums.
    pub complaints: Vec<String>,
}

/// Which checksum Wireshark takes for right in VRRPv3 over IPv4. It knows one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Of the message alone.
    MessageAlone,
    /// With a pseudo-header.
    PseudoHeader,
}

/// Has each of the frames read. `directory` is for a file.
///
/// # Panics
/// When tshark is not there, fails, or reads another number of frames.
pub fn read(directory: &Path, frames: &[Frame], checksum: Checksum) -> Vec<Read> {
    // Values are written one after the other, for as many layers as have the field.
    const STATES: [&str; 3] = ["vrrp.checksum.status", "ip.checksum.status", "icmpv6.checksum.status"];
    const GOOD: &str = "1";
    let file = directory.join("frames.pcap");
    std::fs::write(&file, pcap(frames)).expect("the lab's directory is writable");
    let mut command = Command::new(PROGRAM);
    command.arg("-r").arg(&file).args(["-o", "ip.check_checksum:TRUE"]);
    let alone = checksum == Checksum::MessageAlone;
    command.args(["-o", &format!("vrrp.v3_checksum_as_in_v2:{}", if alone { "TRUE" } else { "FALSE" })]);
    command.args(["-T", "fields", "-e", "frame.protocols", "-e", "_ws.expert.message"]);
    command.args(STATES.iter().flat_map(|field| ["-e", field]));
    let output = command.output().expect("available() has found it");
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let read = text.lines().map(|line| {
        let mut fields = line.split('\t');
        let protocols = fields.next().unwrap_or_default().to_owned();
        let mut complaints: Vec<String> =
            fields.next().into_iter().filter(|said| !said.is_empty()).map(str::to_owned).collect();
        for (field, value) in STATES.iter().zip(fields) {
            // A protocol without checksum has no state of it; VRRP has one.
            let missing = value.is_empty() && *field == STATES[0] && protocols.ends_with(":vrrp");
            if missing || !["", GOOD].contains(&value) {
                complaints.push(format!("{field} is {value:?}"));
            }
        }
        Read { protocols, complaints }
    });
    let read: Vec<Read> = read.collect();
    assert_eq!(read.len(), frames.len(), "tshark has not read all frames");
    read
}

/// A classic pcap file: little-endian, microseconds, Ethernet.
fn pcap(frames: &[Frame]) -> Vec<u8> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const VERSION: u32 = 2 | 4 << 16;
    const LONGEST: u32 = 65535;
    const ETHERNET: u32 = 1;
    let mut words = vec![MAGIC, VERSION, 0, 0, LONGEST, ETHERNET];
    let mut file = Vec::new();
    for frame in frames {
        let (seconds, rest) = (frame.time_ns / 1_000_000_000, frame.time_ns % 1_000_000_000);
        let length = u32::try_from(frame.octets.len()).expect("a frame");
        let time = [seconds, rest / 1000].map(|part| u32::try_from(part).expect("before 2106"));
        words.extend([time[0], time[1], length, length]);
        file.extend(words.drain(..).flat_map(u32::to_le_bytes));
        file.extend(&frame.octets);
    }
    file
}
