//! A client of the services: pulls an image, downloads a file and fetches a chart, each once a second
//! and by name, and tells what it saw.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{NAME, charts, files, registry, sha256};
use crate::{DEADLINE, Namespace, Node};

/// From the start of one errand to that of the next of its kind.
pub const PERIOD: Duration = Duration::from_secs(1);
/// How long a client waits for one errand before it gives up, in seconds.
const PATIENCE_S: &str = "5";

/// Programs that it takes, for [`Lab::with`](crate::Lab::with).
pub const PROGRAMS: [&str; 3] = ["skopeo", "curl", "unshare"];

/// What clients come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// `skopeo copy` of an image from the registry, with a verified certificate.
    Image,
    /// A file of the file server, compared with what was uploaded.
    File,
    /// The index of the chart repository, and the chart that it names, compared with its digest.
    Chart,
}

impl Errand {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Image, Self::File, Self::Chart];
}

/// One errand, done or failed.
#[derive(Clone, Debug)]
pub struct Visit {
    /// What for.
    pub errand: Errand,
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
    /// The address that served the file or the chart, as far as the client knows it.
    pub server: Option<String>,
    /// Why it failed.
    pub problem: Option<String>,
}

/// A client at work.
pub struct Client {
    stop: Arc<AtomicBool>,
    visits: Arc<Mutex<Vec<Visit>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Client {
    /// Sends a client from `node` for `image`, for example `pause/pause:3.9`, and the file and the
    /// chart that every server has. It asks the name server at `resolver` where they are, and trusts
    /// the certificates of `authority`, PEM.
    pub fn start(node: &Node, resolver: &str, image: &str, authority: &str) -> Self {
        let home = node.directory().join("client");
        let trusted = home.join("trusted");
        std::fs::create_dir_all(&trusted).expect("the lab's directory is writable");
        std::fs::write(trusted.join("ca.crt"), authority).expect("the lab's directory is writable");
        let resolv = format!("nameserver {resolver}\noptions timeout:1 attempts:3\n");
        std::fs::write(home.join("resolv.conf"), resolv).expect("the lab's directory is writable");
        let stop = Arc::new(AtomicBool::new(false));
        let visits = Arc::new(Mutex::new(Vec::new()));
        let threads = Errand::ALL.map(|errand| {
            let walker = Walker {
                errand,
                image: image.to_owned(),
                namespace: node.namespace().duplicate(),
                home: home.clone(),
            };
            let (stop, visits) = (Arc::clone(&stop), Arc::clone(&visits));
            std::thread::spawn(move || walker.walk(&stop, &visits))
        });
        Self { stop, visits, threads: threads.into() }
    }

    /// Waits until each errand, begun from now on, has succeeded.
    pub fn wait_for_success(&self) {
        let now = Instant::now();
        self.wait("success with every errand", |visits| {
            let served = |errand: &Errand| {
                visits.iter().any(|v| v.errand == *errand && v.began >= now && v.problem.is_none())
            };
            Errand::ALL.iter().all(served).then_some(())
        });
    }

    /// Waits until this errand, begun from now on, has failed; gives the reason.
    pub fn wait_for_failure(&self, errand: Errand) -> String {
        let now = Instant::now();
        self.wait(&format!("a failure with {errand:?}"), |visits| {
            let mut since = visits.iter().filter(|v| v.errand == errand && v.began >= now);
            since.find_map(|visit| visit.problem.clone())
        })
    }

    /// Waits until each errand, begun from now on, has been done or has failed `count` times.
    pub fn wait_for_visits(&self, count: usize) {
        let now = Instant::now();
        self.wait("its next errands", |visits| {
            let done = |errand: &Errand| {
                visits.iter().filter(|v| v.errand == *errand && v.began >= now).count() >= count
            };
            Errand::ALL.iter().all(done).then_some(())
        });
    }

    /// Ends after what is under way, and gives what was seen.
    pub fn stop(mut self) -> Visits {
        self.stop.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().expect("a walker does not panic");
        }
        Visits(self.visits())
    }

    fn wait<T>(&self, what: &str, condition: impl Fn(&[Visit]) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(value) = condition(&self.visits()) {
                return value;
            }
            assert!(
                Instant::now() < end,
                "waited in vain for {what}; last the client saw:\n{}",
                self.latest()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn latest(&self) -> String {
        let visits = self.visits();
        let latest = visits.iter().rev().take(6).rev();
        latest.fold(String::new(), |mut text, visit| {
            let outcome = visit.problem.as_deref().unwrap_or("done");
            writeln!(text, "  {:?}: {outcome}", visit.errand).expect("a string takes everything");
            text
        })
    }

    fn visits(&self) -> Vec<Visit> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What a client saw.
#[derive(Clone, Debug)]
pub struct Visits(pub Vec<Visit>);

impl Visits {
    /// Those for one errand, in the order in which they began.
    pub fn of(&self, errand: Errand) -> impl Iterator<Item = &Visit> {
        self.0.iter().filter(move |visit| visit.errand == errand)
    }

    /// How many failed.
    pub fn failures(&self, errand: Errand) -> usize {
        self.of(errand).filter(|visit| visit.problem.is_some()).count()
    }

    /// The longest that somebody who came at the beginning of a visit had to wait until that or a
    /// later one had succeeded. Visits after the last success count nothing.
    pub fn longest_wait(&self, errand: Errand) -> Duration {
        let visits: Vec<&Visit> = self.of(errand).collect();
        let mut served = None;
        let mut longest = Duration::ZERO;
        for visit in visits.iter().rev() {
            if visit.problem.is_none() {
                served = Some(visit.ended);
            }
            longest = longest.max(served.map_or(Duration::ZERO, |served: Instant| served - visit.began));
        }
        longest
    }

    /// One line on what was seen, for the table in docs/bootstrap-nodes.md, on stderr past the test
    /// harness, which would swallow it.
    pub fn tell(&self, story: &str) {
        use std::io::Write;
        let mut line = format!("CLIENT {story}:");
        for errand in Errand::ALL {
            let (all, failed) = (self.of(errand).count(), self.failures(errand));
            let longest = self.longest_wait(errand).as_secs_f64();
            line += &format!(" {errand:?} {failed} of {all} failed, longest wait {longest:.2} s;");
        }
        // Nobody may be reading.
        let _ = writeln!(std::io::stderr(), "{}", line.trim_end_matches(';'));
    }
}

/// What does one errand again and again.
struct Walker {
    errand: Errand,
    image: String,
    namespace: Namespace,
    home: PathBuf,
}

impl Walker {
    fn walk(&self, stop: &AtomicBool, visits: &Mutex<Vec<Visit>>) {
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let outcome = match self.errand {
                Errand::Image => self.pull(),
                Errand::File => self.download(),
                Errand::Chart => self.fetch(),
            };
            let (server, problem) = match outcome {
                Ok(server) => (server, None),
                Err(problem) => (None, Some(problem)),
            };
            let visit = Visit { errand: self.errand, began, ended: Instant::now(), server, problem };
            visits.lock().unwrap_or_else(PoisonError::into_inner).push(visit);
            // Who is late does not hurry afterwards.
            next = (next + PERIOD).max(Instant::now());
            std::thread::sleep(next - Instant::now());
        }
    }

    fn pull(&self) -> Result<Option<String>, String> {
        let image = self.home.join("image");
        // Layers that lie there would not be asked for again.
        let _ = std::fs::remove_dir_all(&image);
        let deadline = format!("{PATIENCE_S}s");
        let mut command = self.command("skopeo");
        command.args(["--insecure-policy", "--command-timeout", &deadline, "copy", "--quiet"]);
        command.arg("--src-cert-dir").arg(self.home.join("trusted"));
        command.arg(format!("docker://{NAME}:{}/{}", registry::PORT, self.image));
        run(command.arg(format!("dir:{}", image.display()))).map(|_| None)
    }

    fn download(&self) -> Result<Option<String>, String> {
        let url = format!("http://{NAME}:{}/{}/{}", files::PORT, files::BUCKET, files::OBJECT);
        let (octets, server) = self.get(&url, "file")?;
        if octets != files::object() {
            return Err(format!("{} octets that differ from the original", octets.len()));
        }
        Ok(Some(server))
    }

    fn fetch(&self) -> Result<Option<String>, String> {
        let base = format!("http://{NAME}:{}", charts::PORT);
        let (index, _) = self.get(&format!("{base}/index.yaml"), "index.yaml")?;
        let index = String::from_utf8_lossy(&index);
        let digest = index.lines().find_map(|line| line.trim().strip_prefix("digest: "));
        let digest = digest.ok_or_else(|| format!("an index without the chart: {index}"))?;
        let (chart, server) = self.get(&format!("{base}/{}", charts::archive()), "chart.tgz")?;
        if sha256(&chart) != digest {
            return Err("the chart has another digest than the index".to_owned());
        }
        Ok(Some(server))
    }

    /// What a URL gives, and the address that gave it.
    fn get(&self, url: &str, file: &str) -> Result<(Vec<u8>, String), String> {
        let file = self.home.join(file);
        let mut command = self.command("curl");
        command.args(["--silent", "--show-error", "--fail", "--max-time", PATIENCE_S]);
        command.args(["--write-out", "%{remote_ip}", "--output"]).arg(&file).arg(url);
        let server = run(&mut command)?;
        let octets = std::fs::read(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        Ok((octets, server))
    }

    /// A program that asks the client's own name server.
    fn command(&self, program: &str) -> Command {
        let mut command = self.namespace.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", OWN_RESOLVER, "sh"]);
        command.arg(path(&self.home)).arg(program);
        command
    }
}

/// Only the process sees it.
const OWN_RESOLVER: &str = "mount --bind \"$1/resolv.conf\" /etc/resolv.conf; shift; exec \"$@\"";

fn path(path: &Path) -> &str {
    path.to_str().expect("the lab's paths are plain")
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("cannot start it: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", output.status, said.lines().last().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_in_an_outage_waits_for_its_end() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let visit = |began, ended, problem: Option<&str>| Visit {
            errand: Errand::File,
            began: at(began),
            ended: at(ended),
            server: None,
            problem: problem.map(str::to_owned),
        };
        let visits = Visits(vec![
            visit(0, 10, None),
            visit(1000, 1001, Some("refused")),
            visit(2000, 2001, Some("refused")),
            visit(3000, 3050, None),
            visit(4000, 9000, Some("no answer")),
        ]);
        assert_eq!(visits.longest_wait(Errand::File), Duration::from_millis(2050));
        assert_eq!(visits.failures(Errand::File), 3);
        assert_eq!(visits.longest_wait(Errand::Image), Duration::ZERO);
    }
}
