//! Clients in the middle of a download when the node that serves it is stopped: how long until the next one
//! serves them.

use std::any::Any;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::measure::Measures;
use lab::contender::{Extra, Task};
use lab::services::{Authority, Container, Image, Registry};
use lab::story::{PRIMARY, SECONDARY, VIP};
use lab::{Behind, Contender, Lab, Namespace, Node, now_ns};
use nix::sys::signal::Signal;

const TASK: Task = Task { interval: Duration::from_secs(1), ipv6: false, extra: Extra::Nothing };
/// How long a client waits for more of a download before it begins anew; there are some that never do.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client waits for a connection.
const CONNECT: Duration = Duration::from_millis(200);
/// From one piece of a slow download to the next.
const PACE: Duration = Duration::from_secs(5);
/// Where a userland proxy listens.
const PROXY: u16 = 8082;
/// How long whoever serves waits for news from the other end.
const TURN: Duration = Duration::from_millis(100);

/// Programs that it takes, the daemons apart.
pub(crate) const PROGRAMS: [&str; 9] =
    ["nft", "tc", "docker-registry", "podman", "crun", "iptables", "nsenter", "umoci", "skopeo"];
/// Octets of the image that is pulled.
const IMAGE: usize = 64 << 20;
const REFERENCE: &str = "large/image:v1";

/// What a download passes through on the node.
#[derive(Clone, Copy)]
enum Path {
    /// A process of the node serves it.
    Process,
    /// Its port is mapped to a container.
    Container,
    /// A process of the node hands it on from a container.
    Proxy,
}

impl Path {
    const ALL: [(&str, Self); 3] =
        [("a process", Self::Process), ("a container", Self::Container), ("a userland proxy", Self::Proxy)];

    fn port(self) -> u16 {
        if matches!(self, Self::Proxy) { PROXY } else { Behind::PORT }
    }
}

/// Measures `contender` once: milliseconds from the first advertisement of the successor until a client that
/// was downloading gets the next octet from there.
pub(crate) fn run(contender: Contender) -> Measures {
    let mut values = Vec::new();
    for (name, path) in Path::ALL {
        for (kind, pace) in [("slow download", Some(PACE)), ("fast download", None)] {
            values.push((format!("stop: {kind} from {name} goes on, ms"), download(contender, path, pace)));
        }
    }
    for (name, contained) in [("a process", false), ("a container", true)] {
        values
            .push((format!("stop: skopeo's pull from {name} takes longer, ms"), pull(contender, contained)));
    }
    values
}

/// `skopeo copy` of an image from Debian's docker-registry, on the node or in a container of podman's there, over
/// a link of 200 Mbit/s; the node is stopped after a quarter of it. Milliseconds that it took longer than
/// undisturbed.
fn pull(contender: Contender, contained: bool) -> f64 {
    let lab = Lab::open().expect("main() has asked whether the laboratory is available");
    let (a, b) = (lab.node("a"), lab.node("b"));
    let image = Image::make(lab.directory(), "large", "v1", &[IMAGE]);
    let certificate = Authority::new().issue(&["registry.test"]);
    let start = |node: &Node| -> Box<dyn Any> {
        let site: Box<dyn Any> = match contained {
            true => Box::new(Container::start(node, &certificate)),
            false => Box::new(Registry::start(node, &certificate)),
        };
        image.push(node, &node.ipv4(), REFERENCE);
        site
    };
    let _registries = [&a, &b].map(|node| start(node));
    let primary = contender.start(&a, PRIMARY, TASK);
    let _secondary = contender.start(&b, SECONDARY, TASK);
    lab.wait_for_holder(VIP, "a");
    let shape = "qdisc add dev client root tbf rate 200mbit burst 256k latency 50ms";
    lab.switch().namespace().run("tc", &shape.split(' ').collect::<Vec<_>>());

    let undisturbed = skopeo(&lab, || {});
    let directory = lab.directory().join("pulled");
    let mut stopped = false;
    let disturbed = skopeo(&lab, || {
        if !stopped && size(&directory) > IMAGE as u64 / 4 {
            primary.signal(Signal::SIGTERM);
            stopped = true;
        }
    });
    assert!(stopped, "the image came before the node could be stopped");
    (disturbed.as_secs_f64() - undisturbed.as_secs_f64()) * 1000.0
}

/// How long it takes until the image is there; `meanwhile` is asked what to do again and again. As containerd
/// does, it is tried again when it fails.
fn skopeo(lab: &Lab, mut meanwhile: impl FnMut()) -> Duration {
    let directory = lab.directory().join("pulled");
    let begun = Instant::now();
    loop {
        // Layers that lie there would not be asked for again.
        let _ = std::fs::remove_dir_all(&directory);
        let mut command = lab.client().namespace().command("skopeo");
        command.args(["--insecure-policy", "--command-timeout", "60s", "copy", "--quiet"]);
        command.args(["--src-tls-verify=false", &format!("docker://{VIP}/{REFERENCE}")]);
        command.arg(format!("dir:{}", directory.display())).stderr(Stdio::null());
        let mut pull = command.spawn().expect("main() has asked for it");
        let ended = loop {
            if let Some(status) = pull.try_wait().expect("it is ours to wait for") {
                break status;
            }
            meanwhile();
            std::thread::sleep(Duration::from_millis(2));
        };
        if ended.success() {
            return begun.elapsed();
        }
    }
}

/// Octets of all files in a directory.
fn size(directory: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

fn download(contender: Contender, path: Path, pace: Option<Duration>) -> f64 {
    let lab = Lab::open().expect("main() has asked whether the laboratory is available");
    let (a, b) = (lab.node("a"), lab.node("b"));
    let primary = contender.start(&a, PRIMARY, TASK);
    let _secondary = contender.start(&b, SECONDARY, TASK);
    lab.wait_for_holder(VIP, "a");
    let capture = lab.capture();
    let _sites = [(&a, b'a'), (&b, b'b')].map(|(node, letter)| Site::start(node, letter, path, pace));
    let (begun, began) = mpsc::channel();
    let client = lab.client().namespace().duplicate();
    let port = path.port();
    let client = std::thread::spawn(move || client.enter(|| follow(port, &begun)));
    began.recv().expect("the client is at it");
    // In the middle of a slow download's silence.
    std::thread::sleep(Duration::from_millis(300));
    let stopped_ns = now_ns();
    let leaving = std::thread::spawn(move || primary.terminate());
    let served_ns = client.join().expect("a client gives up for nothing");
    assert!(leaving.join().expect("nothing panics").success());
    let claimed_ns = capture.wait_for_advert("b", stopped_ns).time_ns;
    (served_ns - claimed_ns) as f64 / 1e6
}

/// Downloads, from the beginning whenever it breaks, and says when the first octet of `b` came.
fn follow(port: u16, begun: &mpsc::Sender<()>) -> i64 {
    let address: SocketAddr = SocketAddr::new(VIP.parse().expect("an address"), port);
    let mut octets = vec![0; 1 << 16];
    loop {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, CONNECT) else {
            // It is refused at once where nobody listens.
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        while let Ok(length @ 1..) = stream.read(&mut octets) {
            if octets[..length].contains(&b'b') {
                return now_ns();
            }
            // Whoever waits for it has heard it the first time.
            let _ = begun.send(());
        }
    }
}

/// Who serves on a node. Ends when dropped.
struct Site {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    _container: Option<Behind>,
}

impl Site {
    fn start(node: &Node, letter: u8, path: Path, pace: Option<Duration>) -> Self {
        let mut site = Self { over: Arc::default(), threads: Vec::new(), _container: None };
        let serve = move |stream: TcpStream, over: &AtomicBool| send(&stream, letter, pace, over);
        match path {
            Path::Process => site.listen(node.namespace(), Behind::PORT, serve),
            Path::Container | Path::Proxy => {
                let container = Behind::start(node);
                site.listen(container.namespace(), Behind::PORT, serve);
                if matches!(path, Path::Proxy) {
                    let inside = Arc::new(node.namespace().duplicate());
                    let hand_on = move |stream: TcpStream, over: &AtomicBool| {
                        let to = SocketAddr::from(([198, 51, 100, 2], Behind::PORT));
                        let Ok(upstream) = inside.enter(|| TcpStream::connect(to)) else {
                            return;
                        };
                        copy(&upstream, &stream, over);
                    };
                    site.listen(node.namespace(), PROXY, hand_on);
                }
                site._container = Some(container);
            }
        }
        site
    }

    /// Has a thread for each connection to a port.
    fn listen(
        &mut self,
        namespace: &Namespace,
        port: u16,
        serve: impl Fn(TcpStream, &AtomicBool) + Clone + Send + 'static,
    ) {
        let listener = namespace.enter(|| TcpListener::bind(("0.0.0.0", port)).expect("nobody else is here"));
        listener.set_nonblocking(true).expect("a socket");
        let over = Arc::clone(&self.over);
        self.threads.push(std::thread::spawn(move || {
            let mut served = Vec::new();
            while !over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).expect("a socket");
                        let (serve, over) = (serve.clone(), Arc::clone(&over));
                        served.push(std::thread::spawn(move || serve(stream, &over)));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
            served.into_iter().for_each(|thread| drop(thread.join()));
        }));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Sends one letter again and again: a little at each pace, or as much as goes.
fn send(mut stream: &TcpStream, letter: u8, pace: Option<Duration>, over: &AtomicBool) {
    let piece = vec![letter; if pace.is_some() { 1 << 10 } else { 1 << 16 }];
    stream.set_write_timeout(Some(TURN)).expect("not zero");
    let mut due = Instant::now();
    while !over.load(Ordering::Relaxed) {
        if Instant::now() < due {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        due += pace.unwrap_or_default();
        match stream.write(&piece) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

/// Hands on what comes.
fn copy(mut from: &TcpStream, mut to: &TcpStream, over: &AtomicBool) {
    from.set_read_timeout(Some(TURN)).expect("not zero");
    to.set_write_timeout(Some(PATIENCE)).expect("not zero");
    let mut octets = vec![0; 1 << 16];
    while !over.load(Ordering::Relaxed) {
        match from.read(&mut octets) {
            Ok(length @ 1..) if to.write_all(&octets[..length]).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
