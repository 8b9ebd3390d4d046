//! Names that follow a virtual router, as users see them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config;
use crate::control::time::WallTime;
use crate::dns_update::{Progress, Standing};

/// A `dns_update` and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsUpdate {
    /// Its name in the configuration.
    pub name: String,
    /// The domain name, without the final dot.
    pub record: String,
    /// `A` or `AAAA`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The address that the name gets while this node is Active.
    pub value: IpAddr,
    /// `standby`, `pending`, `confirmed` or `failing`.
    pub state: DnsState,
    /// The state in a sentence.
    pub message: String,
    /// What to do, while it fails.
    pub remedy: Option<String>,
    /// When it entered the state.
    pub since: WallTime,
    /// When a server last answered that the record is right; null: not since this node became Active.
    pub confirmed: Option<WallTime>,
}

/// State of a `dns_update`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DnsState {
    /// Not Active here, so nothing is touched.
    Standby,
    /// Being looked at or changed for the first time.
    Pending,
    /// The server has the record as it should be.
    Confirmed,
    /// The record could not be changed; it is tried again.
    Failing,
}

impl DnsUpdate {
    /// As it is configured and as it stands.
    pub fn new(config: &config::DnsUpdate, standing: &Standing) -> Self {
        Self {
            name: config.name.clone(),
            record: config.record.clone(),
            kind: config.record_type().to_owned(),
            value: config.value,
            state: match standing.progress {
                Progress::Standby => DnsState::Standby,
                Progress::Pending => DnsState::Pending,
                Progress::Confirmed => DnsState::Confirmed,
                Progress::Failing => DnsState::Failing,
            },
            message: standing.message.clone(),
            remedy: standing.remedy.clone(),
            since: standing.since.into(),
            confirmed: standing.confirmed.map(WallTime::from),
        }
    }
}
