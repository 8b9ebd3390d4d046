//! What we send, read by Wireshark, which shares no line with us.

use std::fmt::Write;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lab::tshark::{self, Checksum};
use lab::{DEADLINE, Frame, Lab, wait_for};

/// One virtual router of each kind: its name, its keys, its VRID, its family, the checksum that it sends.
const FORMATS: [(&str, &str, u8, bool, Checksum); 11] = [
    ("rfc9568", "ipv4_checksum = \"rfc9568\"", 1, false, Checksum::MessageAlone),
    (
        "deployed",
        "ipv4_checksum = \"pseudo_header\"\ngarp = { form = \"reply\", count = 1 }",
        2,
        false,
        Checksum::PseudoHeader,
    ),
    ("many", "ipv4_checksum = \"pseudo_header\"", 3, false, Checksum::PseudoHeader),
    ("unicast", "peers = [\"192.0.2.194\"]", 4, false, Checksum::PseudoHeader),
    ("six", "", 5, true, Checksum::PseudoHeader),
    ("many_six", "", 6, true, Checksum::PseudoHeader),
    (
        "unicast_six",
        "source_address = \"2001:db8::193\"\npeers = [\"2001:db8::194\"]",
        7,
        true,
        Checksum::PseudoHeader,
    ),
    ("version_2", VERSION_2, 8, false, Checksum::PseudoHeader),
    ("many_version_2", VERSION_2, 9, false, Checksum::PseudoHeader),
    ("password", PASSWORD, 10, false, Checksum::PseudoHeader),
    // Over IPv4 the checksum leaves the trailer out, which Wireshark knows nothing of.
    (
        "keyed_six",
        "authentication = { type = \"hmac-sha256\", keys = { 1 = \"file:KEY\" }, mode = \"enforce\" }",
        11,
        true,
        Checksum::PseudoHeader,
    ),
];
/// There is one checksum and one unit of time.
const VERSION_2: &str = "version = 2\nadvertisement_interval = \"1s\"";
const PASSWORD: &str = "version = 2\nadvertisement_interval = \"1s\"\n\
                        authentication = { type = \"pass\", password = \"s3cr3t\" }";

/// Many, where the name says so: over IPv6 as many as an advertisement has room for.
fn addresses(name: &str, vrid: u8, six: bool) -> Vec<String> {
    let count = match (name.contains("many"), six) {
        (false, _) => 2,
        (true, true) => 90,
        (true, false) => 120,
    };
    let network = u16::from(vrid);
    let address = |host: u16| match six {
        true => format!("fe80::{network}:{host:x}"),
        false if count == 2 => format!("203.0.113.{}", network * 10 + host),
        false if name == "many" => format!("198.51.100.{host}"),
        false => format!("198.51.100.{}", count + host),
    };
    (1..=count).map(address).collect()
}

fn configuration(key: &Path) -> String {
    let mut text = String::new();
    for (name, keys, vrid, six, _) in FORMATS {
        let addresses = addresses(name, vrid, six);
        write!(
            text,
            "[virtual_router.{name}]\ninterface = \"eth0\"\nvrid = {vrid}\naddresses = {addresses:?}\n{keys}\n"
        )
        .expect("a string grows");
    }
    text.replace("KEY", &key.display().to_string())
}

#[test]
fn wireshark_has_no_complaint_about_anything_that_is_sent() {
    let Some(lab) = Lab::with(&[tshark::PROGRAM]) else { return };
    let a = lab.node("a");
    // Somebody has the addresses of the unicast peers.
    let _b = lab.node("b");
    let capture = lab.capture();
    let key = lab.directory().join("key");
    std::fs::write(&key, format!("hex:{}", "0f".repeat(32))).expect("the lab's directory is writable");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
    let daemon = a.vrrpd(&configuration(&key));
    let of = |frame: &Frame, vrid: u8| frame.advert().is_some_and(|advert| advert.vrid == vrid);
    for (name, _, vrid, ..) in FORMATS {
        wait_for(&format!("three advertisements of {name}"), DEADLINE, || {
            let count = capture.adverts_of("a").iter().filter(|frame| of(frame, vrid)).count();
            (count >= 3).then_some(())
        });
    }
    for (name, _, vrid, six, _) in FORMATS {
        for address in addresses(name, vrid, six) {
            let address = address.parse().expect("an address");
            capture.wait_for(&format!("an announcement of {name}"), 0, |frame| frame.announces(address));
        }
    }
    assert!(daemon.terminate().success());
    let frames: Vec<Frame> = capture.frames().into_iter().filter(|frame| frame.interface == "a").collect();

    for (name, _, vrid, _, checksum) in FORMATS {
        let adverts: Vec<Frame> = frames.iter().filter(|frame| of(frame, vrid)).cloned().collect();
        assert!(adverts.iter().any(Frame::resigns), "{name}");
        for read in tshark::read(lab.directory(), &adverts, checksum) {
            assert!(read.protocols.ends_with(":vrrp"), "{name}: {read:?}");
            assert!(read.complaints.is_empty(), "{name}: {read:?}");
        }
    }
    let around: Vec<Frame> = frames.iter().filter(|frame| frame.advert().is_none()).cloned().collect();
    let read = tshark::read(lab.directory(), &around, Checksum::PseudoHeader);
    for protocol in ["eth:ethertype:arp", "eth:ethertype:ipv6:icmpv6"] {
        assert!(read.iter().any(|read| read.protocols == protocol), "no {protocol}");
    }
    for read in read {
        assert!(read.complaints.is_empty(), "{read:?}");
    }
}

/// Were it silent about everything, the test above would show nothing.
#[test]
fn wireshark_complains_about_the_checksum_that_it_does_not_expect() {
    let Some(lab) = Lab::with(&[tshark::PROGRAM]) else { return };
    let a = lab.node("a");
    let capture = lab.capture();
    let _daemon = a.vrrpd(&lab::story::web(150, "ipv4_checksum = \"rfc9568\""));
    let frame = capture.wait_for_advert("a", 0);
    let read =
        |checksum| tshark::read(lab.directory(), std::slice::from_ref(&frame), checksum).remove(0).complaints;
    assert_eq!(read(Checksum::MessageAlone), [""; 0]);
    let complaints = read(Checksum::PseudoHeader);
    assert!(complaints.iter().any(|said| said.contains("vrrp.checksum.status")), "{complaints:?}");
}
