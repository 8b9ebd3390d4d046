//! Answers to many requests or in many datagrams, as connections and lists of all kinds have them.

use std::ops::ControlFlow;

use netlink_packet_core::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN};

use crate::channel::{Channel, Received, Wait};
use crate::fault::Fault;
use crate::wire::{self, Message, Messages, Verdict};

impl Channel {
    /// Passes on what answers the question with this number, until the list is complete or `each` has
    /// enough; the rest is then still to come. Says whether something changed meanwhile, so that entries may
    /// be missing.
    ///
    /// # Errors
    ///
    /// What the kernel says, or `each`.
    pub(crate) fn collect(
        &mut self,
        sequence: u32,
        mut each: impl FnMut(&Message<'_>) -> Result<ControlFlow<()>, String>,
    ) -> Result<bool, Fault> {
        let mut interrupted = false;
        loop {
            let length = match self.receive(Wait::Answer)? {
                Received::Datagram(length) => length,
                Received::Truncated(length) => return Err(Fault::Truncated(length)),
                Received::Overrun => return Err(Fault::Overrun),
                Received::Nothing => return Err(Fault::Timeout),
            };
            for message in Messages::new(self.datagram(length)) {
                let message = message.map_err(Fault::Malformed)?;
                if message.sequence != sequence {
                    continue;
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE => {
                        return match wire::dump_error(message.payload).map_err(Fault::Malformed)? {
                            Some(errno) => Err(Fault::Refused(errno, None)),
                            None => Ok(interrupted),
                        };
                    }
                    NLMSG_ERROR => match wire::verdict(&message).map_err(Fault::Malformed)? {
                        Verdict::Refused(errno, words) => return Err(Fault::Refused(errno, words)),
                        Verdict::Acknowledged => (),
                    },
                    NLMSG_OVERRUN => return Err(Fault::Overrun),
                    _ if each(&message).map_err(Fault::Malformed)?.is_break() => return Ok(interrupted),
                    _ => (),
                }
            }
        }
    }
    /// Takes in what the kernel has refused of requests that are not acknowledged; it has acted by now.
    ///
    /// # Errors
    ///
    /// The first refusal with another error number than `harmless`.
    pub(crate) fn refusals(&mut self, harmless: i32) -> Result<(), Fault> {
        loop {
            let length = match self.receive(Wait::No)? {
                Received::Datagram(length) => length,
                Received::Nothing => return Ok(()),
                Received::Truncated(length) => return Err(Fault::Truncated(length)),
                Received::Overrun => return Err(Fault::Overrun),
            };
            for message in Messages::new(self.datagram(length)) {
                let message = message.map_err(Fault::Malformed)?;
                if message.kind == NLMSG_ERROR
                    && let Verdict::Refused(errno, words) =
                        wire::verdict(&message).map_err(Fault::Malformed)?
                    && errno != harmless
                {
                    return Err(Fault::Refused(errno, words));
                }
            }
        }
    }
}
