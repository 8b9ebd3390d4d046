//! The system call that no library wraps safely.

/// Does the kernel say that something keeps its clock right (adjtimex(2))?
pub(super) fn clock_is_synchronised() -> bool {
    // SAFETY: the struct is plain numbers, for which zeros are valid; with `modes` 0 the call reads
    // and changes nothing, and it writes into the struct alone.
    let (state, time) = unsafe {
        let mut time: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut time), time)
    };
    state >= 0 && state != libc::TIME_ERROR && time.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_changes_nothing() {
        assert_eq!(clock_is_synchronised(), clock_is_synchronised());
    }
}
