//! The `tcp` probe: a connection is made, and the server says what it should.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::connect::{self, Resolver};
use super::stage::{Stage, within};
use super::{Prober, Run};
use crate::config::Tcp;
use crate::launcher::printable;

/// Octets of what a server said that are shown.
const SHOWN: usize = 80;

/// The probe of one check.
#[derive(Debug)]
pub(super) struct TcpProbe {
    tcp: Tcp,
    resolver: Resolver,
}

impl TcpProbe {
    pub(super) fn new(tcp: &Tcp) -> Self {
        Self { tcp: tcp.clone(), resolver: Resolver::default() }
    }

    async fn reach(&mut self, stage: &Stage) -> Result<String, String> {
        let started = Instant::now();
        let address = &self.tcp.address;
        stage.set(format!("connecting to {address}"));
        let (host, port) = connect::split(address)?;
        let addresses = self.resolver.resolve(host, port).await?;
        let stream = connect::connect(&addresses, self.tcp.source).await?;
        let connected = format!("connected in {} ms", started.elapsed().as_millis());
        let Some(expect) = &self.tcp.expect else { return Ok(connected) };
        stage.set(format!("waiting for {expect:?} from {address}"));
        hear(stream, expect, address, stage).await?;
        Ok(format!("{connected}, {expect:?} came"))
    }
}

/// Reads what the server says first, no further than it is as expected.
async fn hear(mut stream: TcpStream, expect: &str, address: &str, stage: &Stage) -> Result<(), String> {
    let wanted = expect.as_bytes();
    let mut came = Vec::new();
    while came.len() < wanted.len() {
        let mut octets = [0; 256];
        let count = stream
            .read(&mut octets)
            .await
            .map_err(|error| format!("{address} closed the connection: {error}; {expect:?} was expected"))?;
        came.extend_from_slice(&octets[..count]);
        let same = came.len().min(wanted.len());
        let shown = if came.is_empty() { "nothing".to_owned() } else { printable(&came, SHOWN) };
        let fault = format!("{shown} instead of {expect:?} from {address}");
        if count == 0 || came[..same] != wanted[..same] {
            return Err(fault);
        }
        stage.found(fault);
    }
    Ok(())
}

impl Prober for TcpProbe {
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(async move {
            let stage = Stage::default();
            within(deadline, &stage, self.reach(&stage)).await
        })
    }
}
