//! The `http` probe: one request, one answer, and what the answer has to be.
//!
//! A `GET` reads the body to its end, because a server that stops in the middle of an answer is not
//! well; after `max_body` it has seen enough and stops. Of an answer with a wrong status only the first
//! octets are read, for the message. Redirects are answers like any other.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use regex::bytes::Regex;
use serde_json::Value;

use super::client::{Answer, BODY_SHOWN, Client, Extent, Question, show_octets};
use super::hash::Hasher;
use super::stage::{Stage, aside, within};
use super::tls::Authorities;
use super::{Prober, Run};
use crate::config::{BodyMatch, Http, HttpMethod, Scalar, Sha256, compile};
use crate::launcher::printable;

/// The probe of one check.
#[derive(Debug)]
pub(super) struct HttpProbe {
    http: Http,
    client: Client,
    wanted: Option<Wanted>,
}

/// What the body has to say, ready to look for it.
#[derive(Clone, Debug)]
enum Wanted {
    Contains(String),
    Matches(Regex),
    Json { pointer: String, equals: Scalar },
}

impl HttpProbe {
    pub(super) fn new(http: &Http, authorities: &Authorities) -> Self {
        let wanted = http.body.as_ref().map(|body| match body {
            BodyMatch::Contains(text) => Wanted::Contains(text.clone()),
            BodyMatch::Regex(pattern) => {
                Wanted::Matches(compile(pattern).expect("the configuration has compiled it before"))
            }
            BodyMatch::Json { pointer, equals } => {
                Wanted::Json { pointer: pointer.clone(), equals: equals.clone() }
            }
        });
        Self { http: http.clone(), client: Client::new(&http.endpoint, authorities), wanted }
    }

    async fn exchange(&mut self, stage: &Stage) -> Result<String, String> {
        let started = Instant::now();
        let method = match self.http.method {
            HttpMethod::Get => Method::GET,
            HttpMethod::Head => Method::HEAD,
        };
        let question = Question {
            method,
            path: &self.http.endpoint.url.path,
            accept: "*/*",
            headers: &self.http.headers,
        };
        let mut session = self.client.session(stage);
        let mut answer = session.ask(&question).await?;
        let status = answer.status.as_u16();
        if !self.http.status.contains(&status) {
            let wanted: Vec<String> = self.http.status.iter().map(u16::to_string).collect();
            let remedy = match answer.status {
                StatusCode::UNAUTHORIZED if session.client.has_credentials() => {
                    "; user or password in basic_auth_file are wrong"
                }
                StatusCode::UNAUTHORIZED => {
                    "; the server wants a user and a password: basic_auth_file, or 401 in status"
                }
                _ => "",
            };
            return Err(answer.unexpected(&wanted.join(" or "), stage).await + remedy);
        }
        let cut = match self.http.method {
            HttpMethod::Head => judge_head(&self.http, &answer).map(|()| false),
            HttpMethod::Get => judge_body(&self.http, self.wanted.as_ref(), &mut answer).await,
        }?;
        let cut = if cut {
            format!(", of the body the first {}", show_octets(self.http.max_body))
        } else {
            String::new()
        };
        Ok(format!("{status} in {} ms{cut}{}", started.elapsed().as_millis(), session.warning()))
    }
}

impl Prober for HttpProbe {
    /// One run, from the name to the last octet within `deadline`.
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(async move {
            let stage = Stage::default();
            within(deadline, &stage, self.exchange(&stage)).await
        })
    }
}

/// A `HEAD` announces a length, and that is all there is to see.
fn judge_head(http: &Http, answer: &Answer) -> Result<(), String> {
    if http.length.is_none() && http.min_length.is_none() {
        return Ok(());
    }
    let status = answer.status.as_u16();
    match answer.content_length() {
        Some(octets) => judge_length(http, status, Extent { octets, cut: false }),
        None => Err(format!(
            "{status} without Content-Length, so the length is not known; method = \"GET\" counts"
        )),
    }
}

/// Reads the body and says what is wrong with it, or whether there was more than is read.
async fn judge_body(http: &Http, wanted: Option<&Wanted>, answer: &mut Answer) -> Result<bool, String> {
    let status = answer.status.as_u16();
    let keep = if wanted.is_some() { usize::MAX } else { BODY_SHOWN + 1 };
    let mut body = Vec::new();
    let mut hasher = http.sha256.map(|_| Hasher::new());
    let extent = answer
        .read(http.max_body, |octets| {
            body.extend_from_slice(&octets[..octets.len().min(keep - body.len())]);
            if let Some(hasher) = &mut hasher {
                hasher.update(octets);
            }
        })
        .await?;
    judge_length(http, status, extent)?;
    if let (Some(wanted), Some(hasher)) = (http.sha256, hasher) {
        judge_digest(http, status, extent, wanted, hasher.finish())?;
    }
    if let Some(wanted) = wanted.cloned() {
        let most = http.max_body;
        aside(move || wanted.judge(status, &body, extent.cut.then_some(most))).await??;
    }
    Ok(extent.cut)
}

fn judge_length(http: &Http, status: u16, extent: Extent) -> Result<(), String> {
    let Extent { octets, cut } = extent;
    let more = if cut { "more than " } else { "" };
    match (http.length, http.min_length) {
        (Some(length), _) if octets != length || cut => {
            Err(format!("{status} and {more}{octets} octets instead of {length}"))
        }
        (_, Some(min)) if octets < min => {
            Err(format!("{status} and {octets} octets instead of at least {min}"))
        }
        _ => Ok(()),
    }
}

fn judge_digest(
    http: &Http,
    status: u16,
    extent: Extent,
    wanted: Sha256,
    found: Sha256,
) -> Result<(), String> {
    if extent.cut {
        return Err(too_long(status, http.max_body));
    }
    if found != wanted {
        return Err(format!("{status} and {} octets with {found} instead of {wanted}", extent.octets));
    }
    Ok(())
}

fn too_long(status: u16, max_body: u64) -> String {
    format!("{status} and a body of more than max_body, which is {}", show_octets(max_body))
}

impl Wanted {
    /// `cut`: the body is only its first octets, as many.
    fn judge(&self, status: u16, body: &[u8], cut: Option<u64>) -> Result<(), String> {
        let place =
            cut.map_or("the body".to_owned(), |most| format!("the first {} of the body", show_octets(most)));
        let came = || if body.is_empty() { "nothing".to_owned() } else { printable(body, BODY_SHOWN) };
        match self {
            Self::Contains(text) => {
                // The search in text is linear, and what is no text stays none.
                let found = String::from_utf8_lossy(body).contains(text.as_str());
                if found { Ok(()) } else { Err(format!("{status} without {text:?} in {place}: {}", came())) }
            }
            Self::Matches(pattern) => {
                let (found, shown) = (pattern.is_match(body), pattern.as_str());
                let fault = || format!("{status} without a match of {shown:?} in {place}: {}", came());
                if found { Ok(()) } else { Err(fault()) }
            }
            Self::Json { pointer, equals } => {
                if let Some(most) = cut {
                    return Err(too_long(status, most));
                }
                let json: Value = serde_json::from_slice(body).map_err(|error| {
                    format!("{status} with a body that is not JSON ({error}): {}", came())
                })?;
                match json.pointer(pointer) {
                    Some(value) if equals.is(value) => Ok(()),
                    Some(value) => {
                        let value = printable(value.to_string().as_bytes(), BODY_SHOWN);
                        Err(format!("{status} with {value} at {pointer:?} instead of {equals}"))
                    }
                    None => {
                        Err(format!("{status} with nothing at {pointer:?} instead of {equals}: {}", came()))
                    }
                }
            }
        }
    }
}

impl Scalar {
    fn is(&self, value: &Value) -> bool {
        match self {
            Self::Text(text) => value.as_str() == Some(text),
            Self::Integer(number) => value.as_i64() == Some(*number),
            Self::Boolean(boolean) => value.as_bool() == Some(*boolean),
        }
    }
}
