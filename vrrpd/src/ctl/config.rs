//! `vrrpctl config check` and `config show --config`: a file, without the daemon.

use std::path::Path;

use serde::Serialize;

use super::{Output, print, to_json};
use crate::config;
use crate::control::exit;
use crate::control::protocol::{ConfigText, VERSION};

/// `vrrpctl config check --json`.
#[derive(Serialize)]
struct Checked<'a> {
    version: u32,
    file: &'a Path,
    valid: bool,
    /// Faults and warnings as text, one below the other; empty: none.
    diagnostics: String,
}

/// Every fault and warning of a file: 0 when it can be used, otherwise 78.
pub(super) fn check(file: &Path, json: bool) -> Output {
    let (valid, diagnostics) = match config::load_once(file) {
        Ok((_, warnings)) => (true, warnings.to_string()),
        Err(faults) => (false, faults.to_string()),
    };
    let exit_code = if valid { exit::FINE } else { exit::CONFIG };
    if json {
        let checked = Checked { version: VERSION, file, valid, diagnostics };
        return Output { text: to_json(&checked), error: String::new(), exit_code };
    }
    let text = if valid { format!("{}: fine\n", file.display()) } else { String::new() };
    Output { text: print::harmless(&text), error: print::harmless(&diagnostics), exit_code }
}

/// A file with every default filled in, as a file that means the same.
pub(super) fn show(file: &Path, expanded: bool, json: bool) -> Output {
    match config::load_once(file) {
        Ok((config, warnings)) => {
            let config = ConfigText::new(&config, expanded);
            let text = if json { to_json(&config) } else { print::harmless(&config.toml) };
            Output { text, error: print::harmless(&warnings.to_string()), exit_code: exit::FINE }
        }
        Err(faults) => Output::failure(exit::CONFIG, &faults.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that only this test uses, removed at the end.
    struct File(std::path::PathBuf);

    impl File {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("vrrpctl-{}-{name}", std::process::id()));
            std::fs::write(&path, text).expect("a file");
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    const GOOD: &str = "[virtual_router.bootstrap]\ninterface = \"eth0\"\nvrid = 201\npriority = 150\n\
                        addresses = [\"192.0.2.201\"]\n";

    #[test]
    fn a_good_file_is_fine_and_shown_as_a_file_that_means_the_same() {
        let file = File::new("good.toml", GOOD);
        let output = check(&file.0, false);
        assert_eq!((output.exit_code, output.text), (0, format!("{}: fine\n", file.0.display())));
        let shown = show(&file.0, false, false);
        assert_eq!(shown.exit_code, 0);
        let (again, _) = config::parse("shown", &shown.text).expect("it parses");
        let (original, _) = config::parse("original", GOOD).expect("it parses");
        assert_eq!(again, original);
    }

    #[test]
    fn a_preset_is_shown_by_its_name_or_spelt_out() {
        let text = format!(
            "{GOOD}checks = [\"lb\"]\n[check.lb]\npreset = \"haproxy\"\nwith = {{ address = \"192.0.2.193\" }}\n"
        );
        let file = File::new("preset.toml", &text);
        let named = show(&file.0, false, false).text;
        assert!(named.contains("preset ") && !named.contains("http "), "{named}");
        let spelt_out = show(&file.0, true, false).text;
        assert!(spelt_out.contains("http ") && !spelt_out.contains("preset "), "{spelt_out}");
    }

    #[test]
    fn every_fault_of_a_file_is_named_with_its_place_and_exits_with_78() {
        let text = GOOD.replace("201\n", "0\n").replace("150", "300");
        let file = File::new("bad.toml", &text);
        for output in [check(&file.0, false), show(&file.0, false, false)] {
            assert_eq!((output.exit_code, output.text.as_str()), (78, ""));
            let place = |line| format!("{}:{line}:", file.0.display());
            assert!(output.error.starts_with(&place(3)), "{}", output.error);
            assert!(output.error.contains(&place(4)), "{}", output.error);
        }
        let output = check(&file.0, true);
        let json: serde_json::Value = serde_json::from_str(&output.text).expect("JSON");
        assert_eq!((output.exit_code, &json["valid"]), (78, &serde_json::json!(false)));
    }

    #[test]
    fn a_file_that_is_not_there_is_a_fault_of_the_configuration() {
        let output = check(Path::new("/nonexistent/vrrpd.toml"), false);
        assert_eq!(output.exit_code, 78);
        assert!(output.error.contains("/nonexistent/vrrpd.toml"), "{}", output.error);
    }
}
