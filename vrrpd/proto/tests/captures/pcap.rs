//! Reads classic pcap files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vrrp_proto::Family;
use vrrp_proto::packet::Datagram;

use crate::vectors::parse_ip;

/// Octets of the header of a file and of a frame in it.
const FILE_HEADER: usize = 24;
const FRAME_HEADER: usize = 16;

/// One Ethernet frame of a capture.
pub(crate) struct Frame {
    /// Time since the first frame of the file.
    pub(crate) at: Duration,
    pub(crate) octets: Vec<u8>,
}

impl Frame {
    /// The datagram of protocol 112 in it.
    pub(crate) fn datagram(&self) -> Option<Datagram<'_>> {
        let family = match self.octets.get(12..14)? {
            [0x08, 0x00] => Family::Ipv4,
            [0x86, 0xdd] => Family::Ipv6,
            _ => return None,
        };
        parse_ip(family, &self.octets[14..]).ok()
    }
}

/// The captures of a folder below `tests`, by name and in order.
pub(crate) fn names(folder: &str) -> Vec<String> {
    let files = std::fs::read_dir(path(folder)).expect("the captures are in the repository");
    let name = |entry: std::fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".pcap")?.to_owned());
    let mut names: Vec<String> = files.filter_map(|entry| name(entry.expect("a directory entry"))).collect();
    names.sort();
    names
}

/// The frames of a file that is little-endian, counts microseconds, has Ethernet and nothing cut off.
pub(crate) fn frames(folder: &str, name: &str) -> Vec<Frame> {
    let file =
        std::fs::read(path(folder).join(format!("{name}.pcap"))).expect("the captures are in the repository");
    let word = |at: usize| {
        let octets = file[at..].first_chunk().expect("a whole file");
        u32::from_le_bytes(*octets)
    };
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 1), "{name}: microseconds and Ethernet");
    let time = |at| Duration::new(word(at).into(), word(at + 4) * 1000);
    let first = time(FILE_HEADER);
    let mut frames = Vec::new();
    let mut at = FILE_HEADER;
    while at < file.len() {
        let length = word(at + 8);
        assert_eq!(length, word(at + 12), "{name}: the frame is whole");
        let begin = at + FRAME_HEADER;
        let end = begin + usize::try_from(length).expect("a frame fits memory");
        frames.push(Frame { at: time(at) - first, octets: file[begin..end].to_vec() });
        at = end;
    }
    frames
}

fn path(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder)
}
