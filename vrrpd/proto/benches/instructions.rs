//! The cases of `core.rs` for callgrind: `instructions CASE TIMES` does one of them so many times. The
//! script `tests/instructions` counts what that takes, and compares it with `instructions.txt`.

mod host;

use std::hint::black_box;
use std::net::IpAddr;

use host::{Host, address, advertisement, datagram, rules};
use vrrp_proto::Vrid;
use vrrp_proto::node::MESSAGE_MAX;
use vrrp_proto::packet::Advert;

fn main() {
    let mut arguments = std::env::args().skip(1);
    // Cargo runs it without a case when it runs all benchmarks.
    let (Some(case), Some(times)) = (arguments.next(), arguments.next().and_then(|text| text.parse().ok()))
    else {
        return;
    };
    run(&case, times);
}

fn run(case: &str, times: u32) {
    let vrid = Vrid::new(51).expect("not zero");
    let addresses: Vec<IpAddr> = (0..255).map(address).collect();
    let mut message = [0; MESSAGE_MAX];
    let length = advertisement(&mut message, vrid, &addresses[..1]);
    match case {
        "parse" => {
            let rules = rules();
            repeat(times, || {
                let _ = black_box(Advert::parse(&datagram(black_box(&message[..length])), &rules));
            });
        }
        "encode" => repeat(times, || {
            black_box(advertisement(&mut message, vrid, black_box(&addresses[..1])));
        }),
        "hear_1" => with(Host::backup(1), times, Host::hear),
        "hear_1000" => with(Host::backup(1000), times, Host::hear),
        "advertise_1" => with(Host::active(1), times, Host::wake),
        "advertise_1000" => with(Host::active(1000), times, Host::wake),
        _ => panic!("there is no case {case}"),
    }
}

fn with(mut host: Host, times: u32, act: fn(&mut Host)) {
    repeat(times, || act(&mut host));
}

fn repeat(times: u32, mut act: impl FnMut()) {
    (0..times).for_each(|_| act());
}
