//! The frame around messages: headers, acknowledgements with the kernel's words, attributes.
//!
//! Nothing here trusts a length. What the messages carry is read in [`crate::link`] and
//! [`crate::address`].

use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ALIGNTO, NetlinkBuffer, NetlinkMessage, NetlinkSerializable,
    NlaBuffer, NlasIterator,
};

/// One message: the fields of its header that we use, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// `RTM_NEWLINK` and so on.
    pub(crate) kind: u16,
    /// `NLM_F_*`.
    pub(crate) flags: u16,
    /// That of the request it answers.
    pub(crate) sequence: u32,
    /// Port of the socket whose request caused it; 0: the kernel itself.
    pub(crate) port: u32,
    /// Without the header.
    pub(crate) payload: &'a [u8],
}

/// The messages of one datagram. After an error nothing follows, because the next header cannot be
/// found.
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub(crate) fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    /// How much has not been read yet, in bytes.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.rest);
        if bytes.is_empty() {
            return None;
        }
        let header = match NetlinkBuffer::new_checked(bytes) {
            Ok(header) => header,
            Err(error) => return Some(Err(error.to_string())),
        };
        // `new_checked` has compared it with what is there.
        let length = header.length() as usize;
        self.rest = bytes.get(length.next_multiple_of(NLMSG_ALIGNTO as usize)..).unwrap_or_default();
        Some(Ok(Message {
            kind: header.message_type(),
            flags: header.flags(),
            sequence: header.sequence_number(),
            port: header.port_number(),
            payload: &bytes[HEADER_LEN..length],
        }))
    }
}

/// Calls `each` with the kind and the value of every attribute.
pub(crate) fn attributes<'a>(bytes: &'a [u8], mut each: impl FnMut(u16, &'a [u8])) -> Result<(), String> {
    for attribute in NlasIterator::new(bytes) {
        let attribute = attribute.map_err(|error| error.to_string())?;
        each(attribute.kind(), value(attribute));
    }
    Ok(())
}

/// Appends the bytes of a message.
pub(crate) fn append(
    bytes: &mut Vec<u8>,
    mut message: NetlinkMessage<impl NetlinkSerializable>,
    sequence: u32,
) {
    message.header.sequence_number = sequence;
    message.finalize();
    let start = bytes.len();
    // Netlink wants each message to start at a multiple of four; attributes are padded to that.
    bytes.resize(start + message.buffer_len(), 0);
    message.serialize(&mut bytes[start..]);
}

/// The verdict in an `NLMSG_ERROR` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Done.
    Acknowledged,
    /// The error number, positive, and the kernel's words.
    Refused(i32, Option<String>),
}

/// Reads an `NLMSG_ERROR` message.
pub(crate) fn verdict(message: &Message<'_>) -> Result<Verdict, String> {
    let code = code(message.payload)?;
    if code == 0 {
        return Ok(Verdict::Acknowledged);
    }
    let errno = errno(code)?;
    let words = (message.flags & NLM_F_ACK_TLVS != 0).then(|| words(message)).flatten();
    Ok(Verdict::Refused(errno, words))
}

/// Reads an `NLMSG_DONE` message: the error number with which a dump ended, if it failed.
pub(crate) fn dump_error(payload: &[u8]) -> Result<Option<i32>, String> {
    // Older kernels may send no code at all.
    if payload.is_empty() {
        return Ok(None);
    }
    match code(payload)? {
        0.. => Ok(None),
        negative => errno(negative).map(Some),
    }
}

/// A `u32` in the byte order of this machine, as all of rtnetlink; `None` when the length is wrong.
pub(crate) fn u32(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

/// A string of the kernel: ends at the first NUL; what could disturb a terminal is left out.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).chars().filter(|letter| !letter.is_control()).collect()
}

/// The text of the extended acknowledgement, which netlink-packet-core does not decode. It stands
/// behind the request that the kernel repeats, or behind only the header of it (`NLM_F_CAPPED`).
fn words(message: &Message<'_>) -> Option<String> {
    let request = message.payload.get(CODE_LEN..)?;
    let skip = match message.flags & NLM_F_CAPPED {
        0 => {
            let length = u32(request.get(..4)?)? as usize;
            length.checked_next_multiple_of(NLMSG_ALIGNTO as usize)?.max(HEADER_LEN)
        }
        _ => HEADER_LEN,
    };
    let mut words = None;
    // A damaged attribute costs the words, not the verdict.
    let _ = attributes(request.get(skip..)?, |kind, value| {
        if kind == ATTRIBUTE_MESSAGE {
            words = Some(text(value));
        }
    });
    words.filter(|words| !words.is_empty())
}

fn code(payload: &[u8]) -> Result<i32, String> {
    match payload.first_chunk() {
        Some(bytes) => Ok(i32::from_ne_bytes(*bytes)),
        None => Err(format!("{} bytes where an error code needs {CODE_LEN}", payload.len())),
    }
}

fn errno(code: i32) -> Result<i32, String> {
    match code.checked_neg() {
        Some(errno) if errno > 0 => Ok(errno),
        _ => Err(format!("{code} is no error code")),
    }
}

/// As [`NlaBuffer::value`], but living as long as the datagram. The iterator has checked the length.
fn value(attribute: NlaBuffer<&[u8]>) -> &[u8] {
    let length = attribute.length() as usize;
    attribute.into_inner().get(ATTRIBUTE_HEADER_LEN..length).unwrap_or_default()
}

/// `struct nlmsghdr`
const HEADER_LEN: usize = 16;
/// `struct nlattr`
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// `int error` of `struct nlmsgerr`
const CODE_LEN: usize = 4;
/// `NLMSGERR_ATTR_MSG`
const ATTRIBUTE_MESSAGE: u16 = 1;

#[cfg(test)]
pub(crate) mod tests {
    use netlink_packet_core::NLMSG_ERROR;

    use super::*;

    /// Bytes from hexadecimal digits; white space is ignored.
    pub(crate) fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits are ASCII");
            u8::from_str_radix(pair, 16).expect("pairs of hexadecimal digits")
        };
        digits.chunks(2).map(byte).collect()
    }

    /// The only message of a datagram.
    pub(crate) fn only(datagram: &[u8]) -> Message<'_> {
        let mut messages = Messages::new(datagram);
        let message = messages.next().expect("one message").expect("a sound header");
        assert!(messages.next().is_none(), "one message only");
        message
    }

    /// Every way to cut a datagram short, and each byte of it replaced, in a fixed order.
    pub(crate) fn damaged(datagram: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let cut = (0..datagram.len()).map(|length| datagram[..length].to_vec());
        let replaced = (0..datagram.len()).flat_map(|position| {
            [0x00, 0x01, 0x03, 0x7f, 0x80, 0xff].map(|byte| {
                let mut bytes = datagram.to_vec();
                bytes[position] = byte;
                bytes
            })
        });
        cut.chain(replaced)
    }

    /// `Invalid prefix length`, the request cut down to its header.
    const CAPPED: &str = "
        44000000 0200 0003 4d000000 70aa6b86 eaffffff 20000000140005064d00000000000000
        20000100 697076343a20496e76616c696420707265666978206c656e67746800";
    /// The same, the request repeated in full.
    const REPEATED: &str = "
        54000000 0200 0002 4d000000 70aa6b86 eaffffff 20000000140005064d00000000000000
        022100000400000008000200c000020a
        20000100 697076343a20496e76616c696420707265666978206c656e67746800";
    /// It worked.
    const ACKNOWLEDGED: &str = "
        24000000 0200 0001 4d000000 70aa6b86 00000000 3c000000140005064d00000000000000";

    fn read(datagram: &str) -> Result<Verdict, String> {
        verdict(&only(&hex(datagram)))
    }

    #[test]
    fn reads_an_acknowledgement() {
        assert_eq!(only(&hex(ACKNOWLEDGED)).kind, NLMSG_ERROR);
        assert_eq!(only(&hex(ACKNOWLEDGED)).sequence, 77);
        assert_eq!(read(ACKNOWLEDGED), Ok(Verdict::Acknowledged));
    }

    #[test]
    fn finds_the_words_of_the_kernel_behind_the_request() {
        let words = Some("ipv4: Invalid prefix length".to_owned());
        assert_eq!(read(CAPPED), Ok(Verdict::Refused(22, words.clone())));
        assert_eq!(read(REPEATED), Ok(Verdict::Refused(22, words)));
    }

    #[test]
    fn a_kernel_without_words_repeats_the_request_only() {
        // No NLM_F_ACK_TLVS; what stands there is the request.
        let datagram = REPEATED.replace("0200 0002", "0200 0000");
        assert_eq!(read(&datagram), Ok(Verdict::Refused(22, None)));
    }

    #[test]
    fn a_length_that_leads_astray_costs_only_the_words() {
        let datagram = REPEATED.replace("eaffffff 20000000", "eaffffff ffffffff");
        assert_eq!(read(&datagram), Ok(Verdict::Refused(22, None)));
    }

    #[test]
    fn an_error_code_that_is_none_is_malformed() {
        assert!(read(&CAPPED.replace("eaffffff", "00000080")).is_err(), "has no positive counterpart");
        assert!(read(&CAPPED.replace("eaffffff", "16000000")).is_err(), "is positive");
        assert!(read("10000000 0200 0000 4d000000 70aa6b86").is_err(), "is missing");
    }

    #[test]
    fn a_list_can_end_with_an_error() {
        assert_eq!(dump_error(&hex("00000000")), Ok(None));
        assert_eq!(dump_error(&hex("eaffffff")), Ok(Some(22)));
        assert_eq!(dump_error(&[]), Ok(None));
        assert!(dump_error(&[0, 0]).is_err());
    }

    #[test]
    fn several_messages_share_a_datagram() {
        // 17 bytes are padded to 20.
        let mut datagram = hex("11000000 0300 0000 01000000 02000000 ff 000000");
        datagram.extend(hex(ACKNOWLEDGED));
        let mut messages = Messages::new(&datagram);
        let first = messages.next().expect("two messages").expect("a sound header");
        assert_eq!((first.sequence, first.port, first.payload), (1, 2, &[0xff][..]));
        let second = messages.next().expect("two messages").expect("a sound header");
        assert_eq!(second.sequence, 77);
        assert!(messages.next().is_none());
    }

    #[test]
    fn nothing_follows_a_damaged_header() {
        for datagram in ["00", "0f000000 0300 0000 01000000 02000000", "11000000 0300 0000 01000000 02000000"]
        {
            let datagram = hex(datagram);
            let mut messages = Messages::new(&datagram);
            assert!(messages.next().expect("not empty").is_err(), "{datagram:02x?}");
            assert!(messages.next().is_none());
        }
    }

    #[test]
    fn text_ends_at_nul_and_cannot_disturb_a_terminal() {
        assert_eq!(text(b"eth0\0junk"), "eth0");
        assert_eq!(text(b"a\x1b[2Jb\n\xff"), "a[2Jb\u{fffd}");
        assert_eq!(text(b""), "");
    }

    #[test]
    fn damage_is_an_error_but_no_panic() {
        for datagram in [CAPPED, REPEATED, ACKNOWLEDGED] {
            let mut errors = 0;
            for bytes in damaged(&hex(datagram)) {
                for message in Messages::new(&bytes) {
                    errors += usize::from(message.and_then(|message| verdict(&message)).is_err());
                }
            }
            assert!(errors > 16, "each header cut short is an error");
        }
    }
}
