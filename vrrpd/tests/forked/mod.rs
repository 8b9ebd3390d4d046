//! A test program of its own making: libtest has threads before a test begins, and a launcher must
//! be forked before there are any. Each case gets a launcher of its own and a runtime of one thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use vrrpd::launcher::{Allowed, Launcher, LauncherHandle};

/// What a case works with.
pub(crate) struct Fixture {
    /// The launcher.
    pub(crate) launcher: LauncherHandle,
    /// Its process id.
    #[allow(dead_code, reason = "not every test program asks")]
    pub(crate) pid: u32,
}

/// A name and what it stands for.
pub(crate) type Case = (&'static str, fn(Fixture) -> Pin<Box<dyn Future<Output = ()>>>);

/// A table of async functions by their names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), |fixture| Box::pin($name(fixture)))),*]
    };
}

pub(crate) use cases;

/// Runs the cases that the arguments select, as libtest would: parts of names, `--exact`, `--list`.
pub(crate) fn run(cases: &[Case]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (options, filters): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|a| a.starts_with('-'));
    let exact = options.iter().any(|option| option == "--exact");
    let selected = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|f| if exact { name == f } else { name.contains(f.as_str()) })
    };
    let chosen: Vec<&Case> = cases.iter().filter(|(name, _)| selected(name)).collect();
    if options.iter().any(|option| option == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let failed = chosen.iter().filter(|case| !passes(case)).count();
    let (word, passed, out) =
        (if failed == 0 { "ok" } else { "FAILED" }, chosen.len() - failed, cases.len() - chosen.len());
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {out} filtered out\n"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

fn passes((name, case): &Case) -> bool {
    let passed = catch_unwind(AssertUnwindSafe(|| {
        // A thread of the case before may be about to end.
        while std::fs::read_dir("/proc/self/task").expect("/proc is mounted").count() > 1 {
            std::thread::yield_now();
        }
        let launcher = Launcher::start(Allowed::all()).expect("this process has one thread");
        let pid = launcher.pid();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the kernel has descriptors left").block_on(async {
            let launcher = launcher.handle().expect("the socket can be watched");
            let limit = Duration::from_secs(60);
            tokio::time::timeout(limit, case(Fixture { launcher, pid }))
                .await
                .expect("it ends within a minute");
        });
    }))
    .is_ok();
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    passed
}

/// Waits until `condition` holds; the case's own limit is the end of patience.
#[allow(dead_code, reason = "not every test program waits")]
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Is there such a process, and is it more than a zombie?
#[allow(dead_code, reason = "not every test program asks")]
pub(crate) fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
