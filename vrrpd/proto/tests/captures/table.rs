//! Says of a capture what it holds, in the lines of `pcaps/tables.txt`.

use std::net::{IpAddr, Ipv6Addr};

use vrrp_proto::packet::{Advert, ChecksumForm, Rules, arp, ndisc};
use vrrp_proto::{MacAddress, Version};

use crate::pcap::Frame;

/// Frames that say the same: what stands before and after their times, and the times.
struct Line {
    words: String,
    at: Vec<String>,
    seconds: Vec<String>,
}

/// The lines of a capture: advertisements, then announcements, each in order of appearance.
pub(crate) fn lines(frames: &[Frame], rules: &Rules) -> String {
    let mut adverts = Vec::new();
    let mut announcements = Vec::new();
    for frame in frames {
        if let Some(words) = advert(frame, rules) {
            note(&mut adverts, frame, words);
        } else if let Some(words) = gratuitous_arp(&frame.octets).or_else(|| neighbour(&frame.octets)) {
            note(&mut announcements, frame, words);
        }
    }
    let advert = |line: Line| {
        let (first, last) = (line.seconds.first().expect("a frame"), line.seconds.last().expect("a frame"));
        format!("  {first}..{last} n {}, {}\n", line.at.len(), line.words)
    };
    let announcement = |line: Line| {
        let (kind, words) = line.words.split_once(' ').expect("words");
        let at: Vec<_> = line.at.iter().take(TIMES).map(String::as_str).collect();
        format!("  {kind} n {}, {words}, at {}\n", line.at.len(), at.join(" "))
    };
    adverts.into_iter().map(advert).chain(announcements.into_iter().map(announcement)).collect()
}

/// So many times of an announcement are in a line.
const TIMES: usize = 12;

fn note(lines: &mut Vec<Line>, frame: &Frame, words: String) {
    let seconds = frame.at.as_secs_f64();
    let (short, long) = (format!("{seconds:.3}"), format!("{seconds:.4}"));
    match lines.iter_mut().find(|line| line.words == words) {
        Some(line) => {
            line.at.push(long);
            line.seconds.push(short);
        }
        None => lines.push(Line { words, at: vec![long], seconds: vec![short] }),
    }
}

fn ethernet(frame: &[u8]) -> String {
    let mac = |at: usize| MacAddress::new(std::array::from_fn(|index| frame[at + index]));
    format!("{} > {}", mac(6), mac(0))
}

fn advert(frame: &Frame, rules: &Rules) -> Option<String> {
    let datagram = frame.datagram()?;
    let advert = Advert::parse(&datagram, rules).expect("other daemons are understood");
    let message = datagram.payload;
    let addresses: Vec<String> = advert.addresses.iter().map(|address| address.to_string()).collect();
    let holds = match advert.form {
        ChecksumForm::MessageOnly => "message alone",
        ChecksumForm::PseudoHeader => "with pseudo-header",
    };
    let interval = match advert.interval.version() {
        Version::V2 => format!("auth {}, {} s", message[4], advert.interval.seconds()),
        Version::V3 => format!("{} cs", advert.interval.centiseconds()),
    };
    let end = 8 + datagram.family().expect("one family").address_octets() * addresses.len();
    let mut data: String = message[end..].iter().map(|octet| format!("{octet:02x}")).collect();
    if !data.is_empty() {
        data.insert_str(0, ", ");
    }
    Some(format!(
        "{}, {} > {}, TTL {}, v{}, VRID {}, priority {}, {interval}, {}, {} octets, {:02x}{:02x} {holds}{data}",
        ethernet(&frame.octets),
        datagram.source,
        datagram.destination,
        datagram.hop_limit,
        message[0] >> 4,
        advert.vrid,
        advert.priority.get(),
        addresses.join(" "),
        message.len(),
        message[6],
        message[7],
    ))
}

fn gratuitous_arp(frame: &[u8]) -> Option<String> {
    let seen = arp::Arp::parse(frame)?;
    let announces = seen.sender_address == seen.target_address && seen.operation == arp::Operation::Request;
    let words = || {
        let (ethernet, mac) = (ethernet(frame), seen.sender_mac);
        format!("ARP {ethernet}, {mac} has {}, target {}", seen.sender_address, seen.target_mac)
    };
    announces.then(words)
}

fn neighbour(frame: &[u8]) -> Option<String> {
    let seen = ndisc::NeighbourAdvertisement::parse(frame)?;
    let ip =
        |at: usize| IpAddr::V6(Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|index| frame[at + index])));
    let flag = |is: bool, letter| if is { letter } else { "" };
    let flags = flag(seen.router, "R").to_owned() + flag(seen.override_cached, "O");
    let words = || {
        let mac = seen.mac.expect("all of them name the link-layer address");
        let (source, destination) = (ip(14 + 8), ip(14 + 24));
        format!("NA {}, {mac} has {}, {source} > {destination}, flags {flags}", ethernet(frame), seen.target)
    };
    (!seen.solicited && seen.override_cached).then(words)
}
