//! How long the core takes: `cargo bench -p vrrp-proto --bench core`.

mod host;

use std::hint::black_box;
use std::net::IpAddr;

use criterion::{Criterion, criterion_group, criterion_main};
use host::{Host, address, advertisement, datagram, rules};
use vrrp_proto::Vrid;
use vrrp_proto::node::MESSAGE_MAX;
use vrrp_proto::packet::Advert;

fn packets(criterion: &mut Criterion) {
    let vrid = Vrid::new(51).expect("not zero");
    let addresses: Vec<IpAddr> = (0..255).map(address).collect();
    for count in [1, 255] {
        let mut message = [0; MESSAGE_MAX];
        let length = advertisement(&mut message, vrid, &addresses[..count]);
        let rules = rules();
        criterion.bench_function(&format!("parse, {count} addresses"), |bencher| {
            bencher.iter(|| Advert::parse(black_box(&datagram(&message[..length])), &rules).is_ok());
        });
        let mut out = [0; MESSAGE_MAX];
        criterion.bench_function(&format!("encode, {count} addresses"), |bencher| {
            bencher.iter(|| advertisement(black_box(&mut out), vrid, &addresses[..count]));
        });
    }
}

fn node(criterion: &mut Criterion) {
    for routers in [1, 1000] {
        let mut host = Host::backup(routers);
        criterion.bench_function(&format!("a Backup hears, {routers} virtual routers"), |bencher| {
            bencher.iter(|| host.hear());
        });
        let mut host = Host::active(routers);
        criterion.bench_function(&format!("all Active advertise, {routers} virtual routers"), |bencher| {
            bencher.iter(|| host.wake());
        });
    }
}

criterion_group!(benches, packets, node);
criterion_main!(benches);
