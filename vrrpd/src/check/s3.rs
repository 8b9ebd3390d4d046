//! The `s3` probe: a `HEAD` or a `GET` of an object that everybody may read.

use std::time::Duration;

use super::http::HttpProbe;
use super::tls::Authorities;
use super::{Prober, Run};
use crate::config::{Http, HttpMethod, S3};

/// The longest object that is downloaded when its length is not known.
const LONGEST: u64 = 1 << 40;

/// The probe of one check.
#[derive(Debug)]
pub(super) struct S3Probe(HttpProbe);

impl S3Probe {
    pub(super) fn new(s3: &S3, authorities: &Authorities) -> Self {
        let method = if s3.sha256.is_some() { HttpMethod::Get } else { HttpMethod::Head };
        let http = Http {
            endpoint: s3.endpoint.clone(),
            method,
            headers: Vec::new(),
            status: vec![200],
            body: None,
            length: s3.length,
            // An object of nothing is what an interrupted copy leaves.
            min_length: s3.length.is_none().then_some(1),
            sha256: s3.sha256,
            max_body: s3.length.unwrap_or(LONGEST),
        };
        Self(HttpProbe::new(&http, authorities))
    }
}

impl Prober for S3Probe {
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(async move {
            self.0.run(deadline).await.map_err(|fault| {
                if fault.starts_with("403 ") {
                    format!("{fault}; vrrpd signs no requests: let everybody read the object")
                } else {
                    fault
                }
            })
        })
    }
}
