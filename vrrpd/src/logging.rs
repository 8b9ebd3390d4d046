//! Where log lines go: to the journal under systemd, to stderr otherwise.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Installs the subscriber of the process. `VRRPD_LOG` sets what is logged, `info` unless given, in
/// the words of `tracing` (`debug`, `vrrpd::check=trace`).
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("VRRPD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    // systemd names the journal when stderr leads there; the fields arrive as fields then.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let started = match journal {
        Some(journal) => registry.with(journal).try_init(),
        None => registry
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false))
            .try_init(),
    };
    // A second subscriber is refused: the first one goes on.
    let _ = started;
}
