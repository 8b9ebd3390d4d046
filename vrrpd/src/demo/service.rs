//! What runs on a node beside the daemon: its registry, and what answers the client.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use super::Error;
use super::cast::{self, Node, REGISTRY_PORT};
use super::space::Namespace;

/// How long a thread may take to notice that it shall end.
const ATTENTION: Duration = Duration::from_millis(10);

/// A thread that repeats something until the value is dropped, which waits for its end.
pub(super) struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Calls `turn`, which must return soon, again and again.
    pub(super) fn start(name: &str, mut turn: impl FnMut() + Send + 'static) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || {
            while !stopped.load(Ordering::Relaxed) {
                turn();
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(work)
            .map_err(Error::system("start a thread"))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed.
            let _ = thread.join();
        }
    }
}

/// A registry that answers each request with 200, on the node's own address.
pub(super) fn registry(node: Node, namespace: &Namespace) -> Result<Worker, Error> {
    let address = SocketAddrV4::new(node.address(), REGISTRY_PORT);
    let listener = namespace.enter(|| {
        let listen = || -> io::Result<TcpListener> {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        listen().map_err(Error::system(format!("listen on {address} of {}", node.name())))
    })?;
    Worker::start("demo-registry", move || {
        let patience = PollTimeout::try_from(ATTENTION).expect("a few milliseconds");
        let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        // Whatever goes wrong with one connection is the business of the check.
        let _ = poll(&mut ready, patience);
        if let Ok((connection, _)) = listener.accept() {
            let _ = say_fine(connection);
        }
    })
}

fn say_fine(mut connection: TcpStream) -> io::Result<()> {
    connection.set_read_timeout(Some(ATTENTION))?;
    // One small segment carries all of a check's request, and whatever it asks is fine.
    let _ = connection.read(&mut [0; 1024])?;
    connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
}

/// Port that the client asks: echo (RFC 862), though the answer has one octet more.
pub(super) const ECHO_PORT: u16 = 7;

/// Answers whatever is sent to the virtual address with the same, and the node's letter. The kernel
/// hands it packets only while the node has the address.
pub(super) fn responder(node: Node, namespace: &Namespace) -> Result<Worker, Error> {
    let address = SocketAddrV4::new(cast::ADDRESS, ECHO_PORT);
    let socket = namespace.enter(|| {
        let listen = || -> io::Result<UdpSocket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), None)?;
            socket.set_freebind_v4(true)?;
            socket.bind(&address.into())?;
            socket.set_read_timeout(Some(ATTENTION))?;
            Ok(socket.into())
        };
        listen().map_err(Error::system(format!("listen on {address} of {}", node.name())))
    })?;
    let letter = u8::try_from(node.letter()).expect("an ASCII letter");
    Worker::start("demo-responder", move || {
        let mut datagram = [0; 64];
        if let Ok((length @ ..64, client)) = socket.recv_from(&mut datagram) {
            datagram[length] = letter;
            // Lost, as far as the client can see.
            let _ = socket.send_to(&datagram[..=length], client);
        }
    })
}
