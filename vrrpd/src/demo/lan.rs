//! The demo's network: a switch, and stations plugged into it.

use std::net::Ipv4Addr;

use netlink::{Address, LinkIndex, Request, Requester};

use super::Error;
use super::cast;
use super::space::Namespace;

/// A bridge in the namespace of the demo's process.
pub(super) struct Switch {
    requester: Requester,
    bridge: LinkIndex,
}

impl Switch {
    pub(super) fn new() -> Result<Self, Error> {
        const NAME: &str = "switch";
        let mut requester = Requester::open()?;
        perform(&mut requester, &[Request::AddBridge { name: NAME.into() }])?;
        let bridge = index(&mut requester, NAME)?;
        perform(&mut requester, &[Request::SetUp { link: bridge }])?;
        Ok(Self { requester, bridge })
    }

    /// A new station with `address` on its `eth0`, plugged in at the port named `port`.
    pub(super) fn plug_in(&mut self, port: &str, address: Ipv4Addr) -> Result<Station, Error> {
        let namespace = Namespace::new()?;
        let cable = Request::AddVeth {
            name: port.into(),
            peer_name: Station::INTERFACE.into(),
            peer_netns: Some(namespace.netns()),
        };
        perform(&mut self.requester, &[cable])?;
        let port = index(&mut self.requester, port)?;
        let attach = Request::SetController { link: port, controller: Some(self.bridge) };
        perform(&mut self.requester, &[attach, Request::SetUp { link: port }])?;
        let interface = namespace.enter(|| configure(address))?;
        Ok(Station { namespace, port, interface })
    }

    /// Pulls the cable out, for good: a station that comes back is a new one.
    pub(super) fn cut(&mut self, station: &Station) -> Result<(), Error> {
        perform(&mut self.requester, &[Request::RemoveLink { link: station.port }])
    }
}

/// A machine on the switch with an interface `eth0`.
pub(super) struct Station {
    pub(super) namespace: Namespace,
    /// The switch's end of its cable.
    port: LinkIndex,
    /// Its own end, in its namespace.
    pub(super) interface: LinkIndex,
}

impl Station {
    pub(super) const INTERFACE: &str = "eth0";

    /// Puts an address on `eth0` behind the daemon's back.
    pub(super) fn add_address(&self, address: Address) -> Result<(), Error> {
        let link = self.interface;
        self.namespace
            .enter(|| perform(&mut Requester::open()?, &[Request::AddPlainAddress { link, address }]))
    }
}

/// Sets up the namespace that the calling thread is in.
fn configure(ip: Ipv4Addr) -> Result<LinkIndex, Error> {
    let mut requester = Requester::open()?;
    let loopback = index(&mut requester, "lo")?;
    let link = index(&mut requester, Station::INTERFACE)?;
    let requests = [
        Request::SetUp { link: loopback },
        Request::SetMac { link, mac: cast::mac(ip) },
        Request::AddPlainAddress { link, address: in_subnet(ip) },
        Request::SetUp { link },
    ];
    perform(&mut requester, &requests)?;
    Ok(link)
}

/// With the prefix length of the demo's network.
pub(super) fn in_subnet(ip: Ipv4Addr) -> Address {
    Address { ip: ip.into(), prefix_len: 24 }
}

fn perform(requester: &mut Requester, requests: &[Request]) -> Result<(), Error> {
    requester.perform(requests).into_iter().try_for_each(|result| Ok(result.map(drop)?))
}

fn index(requester: &mut Requester, name: &str) -> Result<LinkIndex, Error> {
    let links = requester.links()?;
    links.iter().find(|link| link.name == name).map(|link| link.index).ok_or_else(|| {
        let gone = std::io::Error::from_raw_os_error(libc::ENODEV);
        Error::system(format!("find the link {name}"))(gone)
    })
}
