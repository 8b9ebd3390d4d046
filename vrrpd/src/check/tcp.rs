//! The `tcp` probe: a connection is made.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::connect::{self, Resolver};
use super::{Prober, Run};
use crate::config::Tcp;

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

    async fn reach(&mut self) -> Result<(), String> {
        let (host, port) = connect::split(&self.tcp.address)?;
        let addresses = self.resolver.resolve(host, port).await?;
        connect::connect(&addresses, self.tcp.source).await.map(drop)
    }
}

impl Prober for TcpProbe {
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(async move {
            let started = Instant::now();
            match timeout(deadline, self.reach()).await {
                Ok(reached) => reached?,
                Err(_) => {
                    let (ms, address) = (deadline.as_millis(), &self.tcp.address);
                    return Err(format!("deadline of {ms} ms passed while connecting to {address}"));
                }
            }
            Ok(format!("connected in {} ms", started.elapsed().as_millis()))
        })
    }
}
