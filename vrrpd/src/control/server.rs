//! Speaks with clients so that no client can harm the daemon.
//!
//! Each connection carries one request and one answer, each with a deadline, so a client that is
//! slow, mute, endless or deaf costs one of a bounded number of connections for a bounded time. What
//! is asked goes to the main loop as a [`Call`]; nothing here waits for it without end either.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::protocol::{Answer, REQUEST_BYTES, Refusal, Request};
use super::socket::Socket;
use super::{exit, io_words};

/// A request on its way to the main loop, which answers through it. Dropping it unanswered tells the
/// client that the daemon is stopping.
#[derive(Debug)]
pub struct Call {
    /// What is asked; the peer may ask it.
    pub request: Request,
    /// Who asks.
    pub peer: Peer,
    /// Where the answer goes. Sending fails when the client is gone, which is no fault.
    pub answer: oneshot::Sender<Answer>,
}

/// The process at the other end, as the kernel names it (SO_PEERCRED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user id when it connected.
    pub uid: u32,
}

/// How much a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; default 64.
    pub connections: usize,
    /// How many of them only uid 0 may use, so that readers cannot shut root out; default 16.
    pub reserved: usize,
    /// Time to send the whole request; default 5 s.
    pub request: Duration,
    /// Time for the main loop to answer; default 5 s.
    pub handling: Duration,
    /// The same for what takes time: running checks, waiting for a successor; default 60 s.
    pub run: Duration,
    /// Time to take the whole answer; default 5 s.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let five = Duration::from_secs(5);
        Self {
            connections: 64,
            reserved: 16,
            request: five,
            handling: five,
            run: Duration::from_secs(60),
            answer: five,
        }
    }
}

impl Limits {
    /// Connections that may be open for `peer` to get one more.
    const fn places(&self, peer: Peer) -> usize {
        if peer.uid == 0 { self.connections } else { self.connections.saturating_sub(self.reserved) }
    }
}

/// Serves clients until the future is dropped, which also ends all connections and removes the
/// socket.
///
/// # Errors
/// The listening socket cannot be used at all; nothing that a client does leads here.
pub async fn serve(socket: Socket, calls: mpsc::Sender<Call>, limits: Limits) -> io::Result<()> {
    /// After a failed accept, as without free file descriptors: time for some to be closed.
    const PAUSE: Duration = Duration::from_secs(1);
    let listener = socket.listener()?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(stream, &mut connections, &calls, limits),
                Err(error) => {
                    warn!("cannot accept a client on the control socket: {}", io_words(&error));
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Takes a connection, or closes it with an error when there are too many.
fn admit(stream: UnixStream, connections: &mut JoinSet<()>, calls: &mpsc::Sender<Call>, limits: Limits) {
    let Ok(credentials) = stream.peer_cred() else { return };
    let peer = Peer { uid: credentials.uid() };
    let places = limits.places(peer);
    if connections.len() < places {
        let calls = calls.clone();
        connections.spawn(async move { converse(stream, peer, &calls, limits).await });
    } else {
        debug!(uid = peer.uid, "too many clients on the control socket");
        turn_away(stream, places);
    }
}

/// One line into the empty buffer of a new connection, without waiting.
fn turn_away(stream: UnixStream, places: usize) {
    let refusal = unavailable(format!("vrrpd already serves {places} clients; try again"));
    if let Ok(mut stream) = stream.into_std() {
        // Non-blocking: a client whose buffer takes no line goes without.
        let _ = io::Write::write_all(&mut stream, &line(&Answer::Error(refusal)));
    }
}

/// One request, one answer.
async fn converse(mut stream: UnixStream, peer: Peer, calls: &mpsc::Sender<Call>, limits: Limits) {
    let (reader, mut writer) = stream.split();
    let answer = match timeout(limits.request, read_request(reader)).await {
        Ok(Ok(None)) => return,
        Ok(Ok(Some(bytes))) => match parse(&bytes).and_then(|request| permit(request, peer)) {
            Ok(request) => call(request, peer, calls, limits).await,
            Err(refusal) => Answer::Error(refusal),
        },
        Ok(Err(error)) => {
            debug!(uid = peer.uid, "a client left: {}", io_words(&error));
            return;
        }
        Err(_) => Answer::Error(unavailable(format!(
            "no whole request within {:?}: one line of JSON",
            limits.request
        ))),
    };
    let written = timeout(limits.answer, writer.write_all(&line(&answer))).await;
    if !matches!(written, Ok(Ok(()))) {
        debug!(uid = peer.uid, "a client did not take its answer");
    }
}

/// The bytes before the first newline, or before the end of what the client sends, up to
/// [`REQUEST_BYTES`]; none from a client that says nothing.
async fn read_request(reader: impl tokio::io::AsyncRead + Unpin) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    BufReader::new(reader.take(REQUEST_BYTES as u64)).read_until(b'\n', &mut bytes).await?;
    Ok((!bytes.is_empty()).then_some(bytes))
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Request, Refusal> {
    if bytes.len() >= REQUEST_BYTES && !bytes.ends_with(b"\n") {
        return Err(Refusal::usage(format!("a request has at most {REQUEST_BYTES} bytes")));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        Refusal::usage(format!("not a request: {error}; are vrrpctl and vrrpd of the same version?"))
    })
}

/// Reading is for whoever could open the socket, changing for root.
fn permit(request: Request, peer: Peer) -> Result<Request, Refusal> {
    if !request.changes() || peer.uid == 0 {
        return Ok(request);
    }
    let what = request.command();
    Err(Refusal {
        exit_code: exit::NOT_PERMITTED,
        message: format!("{what} is for root (uid 0), and this is uid {}", peer.uid),
    })
}

/// Asks the main loop.
async fn call(request: Request, peer: Peer, calls: &mpsc::Sender<Call>, limits: Limits) -> Answer {
    let patience = if request.takes_time() { limits.run } else { limits.handling };
    let (answer, answered) = oneshot::channel();
    let asked = async {
        calls.send(Call { request, peer, answer }).await.ok()?;
        answered.await.ok()
    };
    let refusal = match timeout(patience, asked).await {
        Ok(Some(answer)) => return answer,
        Ok(None) => unavailable("vrrpd is stopping".to_owned()),
        Err(_) => unavailable(format!("vrrpd did not answer within {patience:?}; its log may say why")),
    };
    Answer::Error(refusal)
}

fn unavailable(message: String) -> Refusal {
    Refusal { exit_code: exit::UNAVAILABLE, message }
}

fn line(answer: &Answer) -> Vec<u8> {
    let mut line = serde_json::to_vec(answer).expect("answers have string keys and no failing serializer");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_cannot_shut_root_out() {
        let limits = Limits::default();
        assert!(limits.places(Peer { uid: 1000 }) < limits.places(Peer { uid: 0 }));
        assert_eq!(limits.places(Peer { uid: 0 }), 64);
    }

    #[test]
    fn changing_is_for_root_and_reading_for_all() {
        let reload = Request::Reload { reason: None };
        let run = Request::Check { name: None, now: true };
        let read = Request::State { name: None };
        let member = Peer { uid: 1000 };
        for request in [&reload, &run] {
            let refusal = permit(request.clone(), member).expect_err("not root");
            assert_eq!(refusal.exit_code, 77);
            assert!(refusal.message.contains("uid 1000"), "{refusal}");
            assert_eq!(permit(request.clone(), Peer { uid: 0 }).as_ref(), Ok(request));
        }
        assert_eq!(permit(read.clone(), member), Ok(read));
    }
}
