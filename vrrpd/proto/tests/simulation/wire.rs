//! The wire: who gets what, and when.

use std::net::IpAddr;
use std::rc::Rc;

use vrrp_proto::packet::Sighting;
use vrrp_proto::parameters::{LinkId, Parameters};

use super::daemon::mac;
use super::host::{ROUTER, interval_told};
use super::judge;
use super::settings::{Bug, Flavour, SECOND_LINK};
use super::world::{Event, Frame, Packet, World};

impl World {
    /// For how many destinations the kernel took it, and for how many not.
    pub(super) fn send(&mut self, host: usize, priority: vrrp_proto::Priority) -> (u16, u16) {
        let (mut sent, mut failed) = (0, 0);
        for nth in 0.. {
            let Some(node) = &self.hosts[host].node else { break };
            let Some(destination) = node.destinations(ROUTER).nth(nth) else { break };
            let Some(length) = node.advertisement(ROUTER, priority, destination, self.message.as_mut_slice())
            else {
                continue;
            };
            if self.hosts[host].send_fails {
                failed += 1;
                continue;
            }
            sent += 1;
            let way = node.way(ROUTER, destination).expect("it is one of the destinations");
            let source = if way.link == SECOND_LINK { way.source } else { self.settings.sources[host] };
            let payload: Rc<[u8]> = self.message[..length].into();
            self.hosts[host].spoke_interval = interval_told(&payload);
            self.carry(host, Frame::Advert(Packet { source, destination, link: way.link, payload }));
        }
        (sent, failed)
    }

    /// Tells everybody where the addresses are that the node has, or that it does not have yet.
    pub(super) fn announce(&mut self, host: usize, range: std::ops::Range<u16>, present: bool) {
        let Some(node) = self.hosts[host].node.as_ref().filter(|_| !self.hosts[host].send_fails) else {
            return;
        };
        let meant = node.addresses(ROUTER).skip(range.start.into()).take(range.len());
        let addresses: Vec<IpAddr> =
            meant.filter(|each| each.present == present).map(|each| each.address).collect();
        let Parameters { virtual_mac, vrid, family, .. } = self.settings.hosts[host];
        let mac = if virtual_mac { vrid.mac(family) } else { mac(host) };
        for address in addresses {
            self.carry(host, Frame::Announcement(Sighting { address, mac, announced: true, answer: false }));
        }
    }

    pub(super) fn carry(&mut self, from: usize, frame: Frame) {
        if let Frame::Advert(packet) = &frame
            && self.bug == Some(Bug::ReleasesFiltered)
            && packet.payload[2] == 0
        {
            return;
        }
        let second = frame.is_on_second();
        for to in 0..self.hosts.len() {
            let addressed = match &frame {
                Frame::Advert(packet) if second => packet.destination == self.settings.second_sources[to],
                Frame::Advert(packet) => {
                    packet.destination.is_multicast() || packet.destination == self.settings.sources[to]
                }
                Frame::Announcement(_) | Frame::Answer(..) => true,
            };
            let cut = match second {
                true => self.second_cuts.is_cut(from, to),
                false => self.cuts.is_cut(from, to) || !self.hosts[from].link_up,
            };
            let copies = if self.random.one_in(50) { 2 } else { 1 };
            for _ in 0..copies {
                let lost = self.random.below(100) < self.weather.loss_percent;
                if to == from || !addressed || lost || cut {
                    continue;
                }
                let extra = self.random.below(self.weather.delay + 1);
                let mut at = self.now + 1 + self.random.below(self.settings.latency) + extra;
                if self.settings.flavour == Flavour::Planned {
                    at = at.max(self.last_delivery[from][to] + 1);
                }
                self.last_delivery[from][to] = at;
                let late = extra > 0;
                self.push(at, Event::Deliver { from, to, frame: frame.clone(), late });
            }
        }
    }

    /// Kernels answer for their own addresses whether or not a daemon runs; so does the station.
    pub(super) fn ask_client_lan(&mut self, host: usize) {
        let Some(node) = &self.hosts[host].node else { return };
        let stations: Vec<IpAddr> = node.stations(ROUTER).collect();
        for address in stations {
            let station = self.settings.sources.iter().position(|&source| source == address);
            let station = station.unwrap_or(self.hosts.len());
            let lost = self.random.below(100) < self.weather.loss_percent;
            let answers = self.bug == Some(Bug::LanSaidToAnswer) || self.reaches(host, station) && !lost;
            if answers {
                let at = self.now + 2 + self.random.below(2 * self.settings.latency);
                let answer = Sighting { address, mac: mac(station), announced: false, answer: true };
                let frame = Frame::Announcement(answer);
                self.push(at, Event::Deliver { from: station, to: host, frame, late: false });
            }
        }
    }

    /// The host of the Active Router, on each path, and third stations.
    pub(super) fn inquire(&mut self, host: usize) {
        let Some(node) = &self.hosts[host].node else { return };
        let asked: Vec<(LinkId, IpAddr)> = node.inquired(ROUTER).collect();
        for (link, address) in asked {
            let sources =
                if link == SECOND_LINK { &self.settings.second_sources } else { &self.settings.sources };
            let station = sources.iter().position(|&source| source == address);
            let station = station.unwrap_or(self.hosts.len());
            let mut lost = || self.random.below(100) < self.weather.loss_percent;
            let lost = [lost(), lost()].contains(&true);
            let silent = self.bug == Some(Bug::HostSaidToBeSilent) && station < self.hosts.len();
            if self.would_answer(host, station, link) && !lost && !silent {
                let at = self.now + 2 + self.random.below(2 * self.settings.latency);
                let answer = Sighting { address, mac: mac(station), announced: false, answer: true };
                let frame = Frame::Answer(link, answer);
                self.push(at, Event::Deliver { from: station, to: host, frame, late: false });
            }
        }
    }

    /// The kernel of a host that is awake answers, whatever has become of its daemon.
    pub(crate) fn would_answer(&self, host: usize, station: usize, link: LinkId) -> bool {
        let awake = self.hosts.get(station).is_none_or(|other| other.kernel.asleep_until <= self.now);
        awake
            && match link {
                SECOND_LINK => !self.second_cuts.between(host, station),
                _ => self.reaches(host, station),
            }
    }

    /// A kernel that has an address answers for it, whatever its daemon does, unless the fence is shut.
    pub(super) fn probe(&mut self, host: usize) {
        let Some(node) = &self.hosts[host].node else { return };
        let asked: Vec<(usize, IpAddr)> = node.probed(ROUTER).enumerate().collect();
        let latency = self.settings.latency;
        self.hosts[host].contradicted_at = None;
        for (index, address) in asked {
            for other in (0..self.hosts.len()).filter(|&other| other != host) {
                if !self.hosts[other].kernel.answers(index, self.now) || !self.reaches(host, other) {
                    continue;
                }
                self.hosts[host].contradicted_at = Some(self.now);
                if self.bug == Some(Bug::HoldersUnheard) {
                    continue;
                }
                let Parameters { virtual_mac, vrid, family, .. } = self.settings.hosts[other];
                let mac = if virtual_mac { vrid.mac(family) } else { mac(other) };
                let frame = Frame::Announcement(Sighting { address, mac, announced: false, answer: true });
                self.push(self.now + latency, Event::Deliver { from: other, to: host, frame, late: false });
            }
        }
    }

    /// Do questions and answers get through on the clients' LAN?
    pub(crate) fn reaches(&self, host: usize, station: usize) -> bool {
        let up = |index: usize| self.hosts.get(index).is_none_or(|host| host.link_up);
        up(host) && up(station) && !self.cuts.between(host, station)
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize, frame: Frame, late: bool) {
        if late {
            self.disturbed();
        }
        if let Frame::Advert(packet) = &frame {
            judge::delivered(self, from, &packet.payload);
        }
        let host = &mut self.hosts[to];
        let asleep = host.kernel.asleep_until > self.now;
        if host.node.is_none() || asleep || !host.link_up && !frame.is_on_second() {
            return;
        }
        let configured = host.node.as_ref().is_some_and(|node| node.source(ROUTER).is_some());
        if let Frame::Advert(packet) = &frame
            && configured
        {
            host.overhear(from, frame.is_on_second(), &packet.payload, self.now);
        }
        host.inbox.push((frame, self.now));
        let at = self.now + self.random.below(self.settings.latency / 4);
        self.schedule(to, at);
    }
}
