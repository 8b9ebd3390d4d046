//! What `virtual_mac = true` cannot go together with.

use vrrp_proto::Priority;

use super::GarpForm;
use super::diagnostic::Faults;
use super::raw;
use super::table::{At, Field};

/// Reports the contradictions of one virtual router.
pub(super) fn check(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(At { span, .. }) = router.virtual_mac.at().filter(|at| at.value) else { return };
    if let Some(priority) = router.priority.at().filter(|at| at.value == Priority::OWNER) {
        let line = faults.line(&priority.span);
        faults.error(
            span,
            "virtual_mac cannot be true with priority 255",
            format!(
                "the owner's addresses are the administrator's, on the interface with its own MAC address; see line {line}"
            ),
        );
    }
    if matches!(router.addresses, Field::Absent) {
        faults.error(
            span,
            "virtual_mac cannot be true without addresses",
            "there is nothing that could answer with it: leave it out",
        );
    }
    if let Some(form) = router.garp.form.at().filter(|at| at.value == GarpForm::Request) {
        let line = faults.line(span);
        faults.warning(
            &form.span,
            "garp.form = \"request\" lets a router that gives way answer, which turns the switches back to it",
            format!("virtual_mac is true at line {line}: leave form out for \"reply\""),
        );
    }
}
